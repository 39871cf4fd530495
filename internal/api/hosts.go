package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// Hosts are the hosts of some regions, and which buckets did not answer.
type Hosts struct {
	Hosts  []Host            `json:"hosts"`
	Silent map[string]string `json:"silent,omitempty"` // regions whose buckets did not answer, and why
}

// Host is a machine that runs servers, as its worker announced it last.
type Host struct {
	Name        string            `json:"name"`
	Region      string            `json:"region"`
	Fresh       bool              `json:"fresh"` // its worker is there
	AnnouncedAt time.Time         `json:"announcedAt"`
	MemoryBytes int64             `json:"memoryBytes"` // capacity
	MemoryUsed  int64             `json:"memoryUsed"`  // bytes that what is placed there may use
	CPUs        float64           `json:"cpus"`        // capacity
	CPUsUsed    float64           `json:"cpusUsed"`
	DiskBytes   int64             `json:"diskBytes"` // free in the data folder
	Advertise   string            `json:"advertise"` // name or address that clients use
	Postgres    []int             `json:"postgres"`  // server_version_num of each installation
	Placed      []topology.Placed `json:"placed"`
}

// Hosts returns the hosts of one region, or of all when none is named, by region and name. It reads the buckets alone.
func (s *Service) Hosts(ctx context.Context, region string) (Hosts, error) {
	regions := s.cfg.RegionNames()
	if region != "" {
		if err := s.knownRegion(region); err != nil {
			return Hosts{}, err
		}
		regions = []string{region}
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return Hosts{}, err
	}
	found, errs := make([][]topology.Host, len(regions)), make([]error, len(regions))
	var all sync.WaitGroup
	for i, r := range regions {
		all.Go(func() { found[i], errs[i] = c.Hosts(ctx, r) })
	}
	all.Wait()
	out := Hosts{Hosts: []Host{}, Silent: map[string]string{}}
	for i, r := range regions {
		if errs[i] != nil {
			out.Silent[r] = errs[i].Error()
		}
		for _, h := range found[i] {
			out.Hosts = append(out.Hosts, hostOf(h, s.opts.Now()))
		}
	}
	return out, nil
}

func hostOf(h topology.Host, now time.Time) Host {
	out := Host{
		Name: h.Name, Region: h.Region, Fresh: h.Fresh(now), AnnouncedAt: h.AnnouncedAt, MemoryBytes: h.MemoryBytes, CPUs: h.CPUs,
		DiskBytes: h.DiskBytes, Advertise: h.Advertise, Postgres: []int{}, Placed: append([]topology.Placed{}, h.Placed...),
	}
	for _, p := range h.Placed {
		out.MemoryUsed += p.Size.MemoryBytes
		out.CPUsUsed += p.Size.CPUs
	}
	for _, p := range h.Programs {
		out.Postgres = append(out.Postgres, p.Version)
	}
	slices.Sort(out.Postgres)
	return out
}
