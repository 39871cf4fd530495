package config

import (
	"cmp"

	"github.com/smartdr/smartdr/internal/topology"
)

// Prices are what a region's object store costs, where that is not what Amazon asks. A field that is left out is Amazon's;
// 0 is free.
type Prices struct {
	Currency       string   `yaml:"currency,omitempty" json:"currency,omitempty"`             // default USD
	StorageGBMonth *float64 `yaml:"storageGBMonth,omitempty" json:"storageGBMonth,omitempty"` // for a GiB stored for a month
	PutPer1000     *float64 `yaml:"putPer1000,omitempty" json:"putPer1000,omitempty"`         // for 1000 PUT and LIST requests
	GetPer1000     *float64 `yaml:"getPer1000,omitempty" json:"getPer1000,omitempty"`         // for 1000 GET and HEAD requests
	EgressPerGB    *float64 `yaml:"egressPerGB,omitempty" json:"egressPerGB,omitempty"`       // for a GiB that leaves the region

	// Of servers, for `smartdr preprovision`; they have no default.
	CPUMonth      *float64 `yaml:"cpuMonth,omitempty" json:"cpuMonth,omitempty"`           // for a CPU for a month
	MemoryGBMonth *float64 `yaml:"memoryGBMonth,omitempty" json:"memoryGBMonth,omitempty"` // for a GiB of memory for a month
	DiskGBMonth   *float64 `yaml:"diskGBMonth,omitempty" json:"diskGBMonth,omitempty"`     // for a GiB of disk for a month
}

// Servers returns what compute costs, 0 for what is not said.
func (p Prices) Servers() topology.ServerPrices {
	said := func(v *float64) float64 {
		if v == nil {
			return 0
		}
		return *v
	}
	return topology.ServerPrices{
		Currency: cmp.Or(p.Currency, "USD"), CPUMonth: said(p.CPUMonth), MemoryGBMonth: said(p.MemoryGBMonth), DiskGBMonth: said(p.DiskGBMonth),
	}
}

// Over returns the prices p says, and those of others where it says nothing. In another currency checkPrices wants all of them.
func (p Prices) Over(others topology.Prices) topology.Prices {
	out := others
	if p.Currency != "" {
		out.Currency = p.Currency
	}
	for _, f := range []struct {
		said *float64
		to   *float64
	}{{p.StorageGBMonth, &out.StorageGBMonth}, {p.PutPer1000, &out.PutPer1000}, {p.GetPer1000, &out.GetPer1000}, {p.EgressPerGB, &out.EgressPerGB}} {
		if f.said != nil {
			*f.to = *f.said
		}
	}
	return out
}

func (c *Config) checkPrices(name string, r Region) error {
	p := r.Prices
	all := map[string]*float64{"storageGBMonth": p.StorageGBMonth, "putPer1000": p.PutPer1000, "getPer1000": p.GetPer1000, "egressPerGB": p.EgressPerGB}
	for _, field := range []string{"storageGBMonth", "putPer1000", "getPer1000", "egressPerGB"} {
		switch v := all[field]; {
		case v != nil && *v < 0:
			return c.negative(name, field)
		case v == nil && p.Currency != "" && p.Currency != "USD":
			return c.wrong("region %s: prices are in %s and %s is left out, which is known in USD alone", name, p.Currency, field).
				WithHint("Give all four prices, 0 for what is free.")
		}
	}
	for field, v := range map[string]*float64{"cpuMonth": p.CPUMonth, "memoryGBMonth": p.MemoryGBMonth, "diskGBMonth": p.DiskGBMonth} {
		if v != nil && *v < 0 {
			return c.negative(name, field)
		}
	}
	return nil
}

func (c *Config) negative(region, field string) error {
	return c.wrong("region %s: prices.%s is negative", region, field).WithHint("Write 0 for what is free.")
}
