package topology

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// Size is what a workspace needs of a host.
type Size struct {
	Name        string  `json:"name,omitempty"` // "S-1"; empty for one of its own measures
	MemoryBytes int64   `json:"memoryBytes"`
	CPUs        float64 `json:"cpus"`
}

// IsZero reports whether nothing was said.
func (s Size) IsZero() bool { return s == Size{} }

func (s Size) String() string {
	switch {
	case s.IsZero():
		return ""
	case s.Name != "":
		return s.Name
	}
	return fmt.Sprintf("%s/%s", memory(s.MemoryBytes), strconv.FormatFloat(s.CPUs, 'g', -1, 64))
}

// DefaultSize is that of a managed workspace when nothing is said.
const DefaultSize = "S-00"

// sizes grow as the sizes of SingleStore's workspaces do.
var sizes = []Size{
	{"S-00", 1 << 30, 0.5},
	{"S-0", 4 << 30, 1},
	{"S-1", 16 << 30, 4},
	{"S-2", 32 << 30, 8},
	{"S-4", 64 << 30, 16},
	{"S-6", 96 << 30, 24},
	{"S-8", 128 << 30, 32},
	{"S-12", 192 << 30, 48},
	{"S-16", 256 << 30, 64},
}

// SizeNames returns the names of all sizes, smallest first.
func SizeNames() []string {
	names := make([]string, len(sizes))
	for i, s := range sizes {
		names[i] = s.Name
	}
	return names
}

// ParseSize reads "S-1", or memory and CPUs as "6GiB/2". Errors are fault.Invalid.
func ParseSize(s string) (Size, error) {
	if i := slices.IndexFunc(sizes, func(known Size) bool { return known.Name == strings.ToUpper(s) }); i >= 0 {
		return sizes[i], nil
	}
	mem, cpus, _ := strings.Cut(s, "/")
	bytes, ok := parseMemory(mem)
	n, err := strconv.ParseFloat(cpus, 64)
	if !ok || err != nil || n <= 0 || n > 4096 || bytes < 128<<20 {
		return Size{}, fault.Newf(fault.Invalid, "read size", "%q is no size of a workspace", s).
			WithHint("Use %s, or memory and CPUs, as 6GiB/2; at least 128MiB.", strings.Join(SizeNames(), ", "))
	}
	return Size{MemoryBytes: bytes, CPUs: n}, nil
}

func parseMemory(s string) (int64, bool) {
	for _, unit := range []struct {
		name  string
		shift uint
	}{{"MiB", 20}, {"GiB", 30}, {"MB", 20}, {"GB", 30}} {
		if digits, ok := strings.CutSuffix(s, unit.name); ok {
			n, err := strconv.ParseInt(digits, 10, 32)
			return n << unit.shift, err == nil && n > 0
		}
	}
	return 0, false
}

func memory(n int64) string {
	if n%(1<<30) == 0 {
		return strconv.FormatInt(n>>30, 10) + "GiB"
	}
	return strconv.FormatInt(n>>20, 10) + "MiB"
}
