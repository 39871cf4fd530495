package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
)

// Hosts writes one line for each host: what is promised of what it has, and what is free.
func Hosts(h api.Hosts, now time.Time, style Style) string {
	if len(h.Hosts) == 0 {
		return style.silent(h.Silent) + "No host has announced itself: start a worker with a data folder (worker.dataDir in smartdr.yaml)\n"
	}
	var rows [][]cell
	for _, host := range h.Hosts {
		state := tinted(green, "there")
		if !host.Fresh {
			state = tinted(red, "silent")
		}
		rows = append(rows, []cell{
			plain(host.Name), plain(host.Region), state,
			plain(Bytes(host.MemoryUsed) + " of " + Bytes(host.MemoryBytes)), plain(fmt.Sprintf("%g of %g", host.CPUsUsed, host.CPUs)),
			plain(Bytes(host.DiskBytes)), plain(fmt.Sprint(len(host.Placed))), plain(versions(host.Postgres)), plain(Ago(host.AnnouncedAt, now)),
		})
	}
	return style.silent(h.Silent) + style.table([]string{"HOST", "REGION", "STATE", "MEMORY", "CPUS", "DISK FREE", "SERVERS", "POSTGRESQL", "ANNOUNCED"}, rows)
}

// versions writes server_version_num as people do.
func versions(nums []int) string {
	var all []string
	for _, n := range nums {
		all = append(all, fmt.Sprintf("%d.%d", n/10000, n%10000))
	}
	return orDash(strings.Join(all, ", "))
}
