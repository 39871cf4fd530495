package topology

// ServerPrices are what compute costs in a region, for a month. They are nobody's: clouds and own machines differ too much.
type ServerPrices struct {
	Currency      string  `json:"currency"`
	CPUMonth      float64 `json:"cpuMonth"`      // for a CPU
	MemoryGBMonth float64 `json:"memoryGBMonth"` // for a GiB
	DiskGBMonth   float64 `json:"diskGBMonth"`   // for a GiB
}

// Known reports whether any price was said.
func (p ServerPrices) Known() bool { return p.CPUMonth+p.MemoryGBMonth+p.DiskGBMonth > 0 }

// Month is what servers of a size and their disk cost in a month.
func (p ServerPrices) Month(size Size, diskBytes int64) float64 {
	const gib = 1 << 30
	return p.CPUMonth*size.CPUs + p.MemoryGBMonth*float64(size.MemoryBytes)/gib + p.DiskGBMonth*float64(diskBytes)/gib
}
