package render

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/topology"
)

// Cost writes what a group's object storage costs: what is stored, what was asked, and the money.
func Cost(c topology.Cost, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n\n", style.paint(bold, c.Group), c.Month)
	b.WriteString(style.storedTable(c) + "\n")
	b.WriteString(style.requestTable(c) + "\n")
	b.WriteString(style.moneyTable(c))
	for _, n := range c.Notes {
		b.WriteString("\n" + style.paint(dim, n))
	}
	return b.String() + "\n"
}

var storedKinds = []string{topology.StoredWAL, topology.StoredSnapshots, topology.StoredCatalog}

func (s Style) storedTable(c topology.Cost) string {
	var rows [][]cell
	for _, r := range c.Regions {
		if r.Stored == nil {
			rows = append(rows, row(r.Region, r.Role, "-", "-", "-", "-", "-"))
			continue
		}
		cells := row(r.Region, r.Role)
		for _, kind := range storedKinds {
			cells = append(cells, plain(Bytes(r.Stored.Kinds[kind].Bytes)))
		}
		sum := r.Stored.Sum()
		total := Bytes(sum.Bytes)
		if r.Stored.Partial {
			total = "over " + total
		}
		rows = append(rows, append(cells, plain(total), plain(fmt.Sprint(sum.Objects))))
	}
	return s.table([]string{"REGION", "ROLE", "WAL", "SNAPSHOTS", "CATALOG", "STORED", "OBJECTS"}, rows)
}

func (s Style) requestTable(c topology.Cost) string {
	var rows [][]cell
	for _, r := range c.Regions {
		q := r.Requests
		rows = append(rows, row(r.Region, fmt.Sprint(q.Puts), fmt.Sprint(q.Lists), fmt.Sprint(q.Gets), fmt.Sprint(q.Heads), fmt.Sprint(q.Deletes), fmt.Sprint(q.Errors),
			Bytes(q.BytesOut), Bytes(q.BytesIn), Bytes(r.EgressBytes)))
	}
	return s.table([]string{"REGION", "PUT", "LIST", "GET", "HEAD", "DELETE", "FAILED", "WRITTEN", "READ", "LEFT THE REGION"}, rows)
}

func (s Style) moneyTable(c topology.Cost) string {
	var rows [][]cell
	sums := map[string][2]float64{} // by currency
	early := false
	for _, r := range c.Regions {
		for i, part := range []struct {
			what      string
			to, whole float64
		}{
			{"storage", r.ToDate.Storage, r.Projected.Storage}, {"requests", r.ToDate.Requests, r.Projected.Requests}, {"egress", r.ToDate.Egress, r.Projected.Egress},
		} {
			region := ""
			if i == 0 {
				region = r.Region
			}
			to, whole := money(part.to, r.Prices.Currency), money(part.whole, r.Prices.Currency)
			switch {
			case i == 0 && r.Stored == nil:
				to, whole = "-", "-"
			case i > 0 && r.TooEarly:
				whole = "-"
			}
			rows = append(rows, row(region, part.what, to, whole))
		}
		early = early || r.TooEarly
		sum := sums[r.Prices.Currency]
		sums[r.Prices.Currency] = [2]float64{sum[0] + r.ToDate.Sum(), sum[1] + r.Projected.Sum()}
	}
	if len(sums) == 1 {
		for currency, sum := range sums {
			whole := money(sum[1], currency)
			if early {
				whole = "-"
			}
			rows = append(rows, row("total", "", money(sum[0], currency), whole))
		}
	}
	return s.table([]string{"REGION", "FOR", "TO DATE", "PROJECTED"}, rows)
}

// money writes an amount with the precision that small ones need.
func money(v float64, currency string) string {
	if v != 0 && v < 0.01 {
		return fmt.Sprintf("%.4f %s", v, currency)
	}
	return fmt.Sprintf("%.2f %s", v, currency)
}
