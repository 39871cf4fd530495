package main

import (
	"context"
	"os"
	"runtime"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
)

// host describes this machine and announces it, so that something can be placed on it as soon as the worker works. A second
// machine of the same name is refused: it would take the first one's work, and have none of its servers.
func host(ctx context.Context, site activities.Site, w config.Worker) (*activities.Target, error) {
	machine, err := os.Hostname()
	if err != nil {
		return nil, fault.New(fault.Invalid, "name host", err).WithHint("Name it with --host.")
	}
	t := &activities.Target{Site: site, Hosting: hosting(w)}
	if err := activities.NameHost(t, w.Host, config.HostName(machine)); err != nil {
		return nil, err
	}
	t.Log = t.Log.With("host", t.Host)
	err = activities.AnnounceHost(ctx, t)
	if fault.Is(err, fault.Conflict) {
		return nil, err
	}
	if err != nil {
		t.Log.WarnContext(ctx, "the host was not announced yet", "error", err)
	}
	return t, nil
}

func hosting(w config.Worker) activities.Hosting {
	if w.AdvertiseHost == "" {
		w.AdvertiseHost = w.Listen
	}
	h := activities.Hosting{
		DataDir: w.DataDir, Listen: w.Listen, AdvertiseHost: w.AdvertiseHost,
		FirstPort: w.Ports.From, LastPort: w.Ports.To, BinDirs: w.PGBinDirs,
		MemoryBytes: int64(w.Memory), CPUs: w.CPUs,
	}
	if h.MemoryBytes == 0 {
		h.MemoryBytes = metadata.MemoryBytes()
	}
	if h.CPUs == 0 {
		h.CPUs = float64(runtime.GOMAXPROCS(0)) // which minds the control group
	}
	return h
}
