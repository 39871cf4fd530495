package config

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// OverrideWorker replaces what o says in a region's worker section: several hosts of a region share one file, and each
// says by flags what is its own. Errors are fault.Invalid.
func (c *Config) OverrideWorker(region string, o Worker) error {
	r, err := c.Region(region)
	if err != nil {
		return err
	}
	w := &r.Worker
	if w.AdvertiseHost == w.Listen && o.Listen != "" {
		w.AdvertiseHost = "" // it came from the address that is replaced
	}
	w.Host, w.DataDir = cmp.Or(o.Host, w.Host), cmp.Or(o.DataDir, w.DataDir)
	w.Listen, w.AdvertiseHost = cmp.Or(o.Listen, w.Listen), cmp.Or(o.AdvertiseHost, w.AdvertiseHost)
	w.Ports, w.Memory, w.CPUs = cmp.Or(o.Ports, w.Ports), cmp.Or(o.Memory, w.Memory), cmp.Or(o.CPUs, w.CPUs)
	w.setDefaults()
	c.Regions[region] = r
	return c.Validate()
}

// HostName makes a machine's name one that a host may have: "DB1.example.com" becomes "db1-example-com". It is empty when
// nothing is left.
func HostName(machine string) string {
	legal := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(machine))
	legal = strings.TrimLeft(legal, "-")
	return strings.TrimRight(legal[:min(len(legal), 63)], "-")
}

// ParseMemory reads "64GiB" or "512MiB". Errors are fault.Invalid.
func ParseMemory(s string) (Memory, error) {
	n, err := topology.ParseMemory(s)
	return Memory(n), err
}

// UnmarshalYAML is ParseMemory.
func (m *Memory) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	var err error
	if *m, err = ParseMemory(text); err != nil {
		return errors.New("memory: want an amount as 64GiB")
	}
	return nil
}

// ParsePorts reads "6000-6099", or one port. Errors are fault.Invalid.
func ParsePorts(s string) (Ports, error) {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.Atoi(strings.TrimSpace(first))
	to, err2 := strconv.Atoi(strings.TrimSpace(last))
	if err1 != nil || err2 != nil {
		return Ports{}, fault.Newf(fault.Invalid, "read ports", "%q is no range of ports", s).WithHint("Write it as 6000-6099.")
	}
	return Ports{from, to}, nil
}

// UnmarshalYAML is ParsePorts, and takes a number.
func (p *Ports) UnmarshalYAML(unmarshal func(any) error) error {
	var v any
	if err := unmarshal(&v); err != nil {
		return err
	}
	var text string
	switch v := v.(type) {
	case string:
		text = v
	case uint64:
		text = strconv.FormatUint(v, 10)
	}
	var err error
	if *p, err = ParsePorts(text); err != nil {
		return errors.New("ports: want a range as 6000-6099")
	}
	return nil
}
