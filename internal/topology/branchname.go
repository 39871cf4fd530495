package topology

import (
	"fmt"
	"strings"
	"time"
)

// FreeBranchName returns a name for a branch of something, with a moment: "app-20261122t221000", or where that is taken
// "app-20261122t221000-2".
func (g *Group) FreeBranchName(of string, at time.Time) string {
	if s := g.FindSystemManaged(of); s != nil {
		of = s.Database
	}
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(of))
	plain = strings.TrimLeft(plain, "-")
	if plain == "" {
		plain = "branch"
	}
	name := strings.TrimRight(plain[:min(len(plain), 40)], "-") + at.UTC().Format("-20060102t150405")
	for free, n := name, 2; ; n++ {
		if g.CheckBranchName(free) == nil {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}
