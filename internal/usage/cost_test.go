package usage_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/usage"
)

// tenth is a third of the way through a month of 30 days.
var (
	month = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	tenth = month.AddDate(0, 0, 10)
)

const gib = 1 << 30

func group() topology.Group {
	return topology.Group{Name: "prod", Primary: "east", Secondary: "west", Active: "east", CreatedAt: month.AddDate(-1, 0, 0)}
}

func account(region string, since time.Time, buckets map[string]topology.Requests) topology.Usage {
	u := topology.Usage{Region: region, Host: "h", Since: since}
	for bucket, r := range buckets {
		u.Add(bucket, topology.Requests{Puts: 1_000_000}, month.AddDate(0, -1, 3)) // last month's do not count
		u.Add(bucket, r, tenth)
	}
	return u
}

func stored(bytes int64) topology.Stored {
	return topology.Stored{Kinds: map[string]topology.StoredKind{topology.StoredWAL: {Objects: 1, Bytes: bytes / 4}, topology.StoredSnapshots: {Objects: 1, Bytes: bytes - bytes/4}}}
}

func TestCost(t *testing.T) {
	amazon, free := usage.AmazonPrices, topology.Prices{Currency: "EUR"}
	for name, c := range map[string]struct {
		books     func(b *usage.Books)
		region    string
		toDate    topology.Amounts
		projected topology.Amounts
	}{
		"nothing at all": {func(*usage.Books) {}, "west", topology.Amounts{}, topology.Amounts{}},
		"100 GiB stored": {func(b *usage.Books) { b.Stored["west"] = stored(100 * gib) }, "west",
			topology.Amounts{Storage: 2.3 / 3}, topology.Amounts{Storage: 2.3}},
		"100 GiB of a group that is five days old": {func(b *usage.Books) {
			b.Stored["west"], b.Group.CreatedAt = stored(100*gib), month.AddDate(0, 0, 5)
		}, "west", topology.Amounts{Storage: 2.3 / 6}, topology.Amounts{Storage: 2.3 * 25 / 30}},
		"requests since before the month": {func(b *usage.Books) {
			b.Usage = []topology.Usage{account("west", month.AddDate(0, -2, 0), map[string]topology.Requests{"west": {Puts: 9000, Lists: 1000, Gets: 900_000, Heads: 100_000, Deletes: 5_000_000}})}
		}, "west", topology.Amounts{Requests: 0.05 + 0.4}, topology.Amounts{Requests: 3 * 0.45}},
		"requests since five days": {func(b *usage.Books) {
			b.Usage = []topology.Usage{account("west", month.AddDate(0, 0, 5), map[string]topology.Requests{"west": {Puts: 10_000}})}
		}, "west", topology.Amounts{Requests: 0.05}, topology.Amounts{Requests: 5 * 0.05}},
		"what the serving region writes into the other one is paid by the serving one": {func(b *usage.Books) {
			b.Usage = []topology.Usage{account("east", month, map[string]topology.Requests{"west": {BytesOut: 10 * gib, BytesIn: gib}, "east": {BytesOut: 77 * gib}})}
		}, "east", topology.Amounts{Egress: 0.2}, topology.Amounts{Egress: 0.6}},
		"and what it reads from there by the other one": {func(b *usage.Books) {
			b.Usage = []topology.Usage{account("east", month, map[string]topology.Requests{"west": {BytesOut: 10 * gib, BytesIn: gib}, "east": {BytesIn: 77 * gib}})}
		}, "west", topology.Amounts{Egress: 0.02}, topology.Amounts{Egress: 0.06}},
		"two workers": {func(b *usage.Books) {
			b.Usage = []topology.Usage{account("east", month, map[string]topology.Requests{"west": {Puts: 1000}}), account("west", month.AddDate(0, 0, 9), map[string]topology.Requests{"west": {Puts: 1000}})}
		}, "west", topology.Amounts{Requests: 0.01}, topology.Amounts{Requests: 0.03}},
		"a store of one's own": {func(b *usage.Books) {
			b.Prices["west"], b.Stored["west"] = free, stored(100*gib)
			b.Usage = []topology.Usage{account("west", month, map[string]topology.Requests{"west": {Puts: 1_000_000}})}
		}, "west", topology.Amounts{}, topology.Amounts{}},
		"counting has just begun": {func(b *usage.Books) {
			b.Usage = []topology.Usage{account("west", tenth, map[string]topology.Requests{"west": {Puts: 1000}})}
		}, "west", topology.Amounts{Requests: 0.005}, topology.Amounts{}},
	} {
		t.Run(name, func(t *testing.T) {
			b := usage.Books{Group: group(), Now: tenth, Stored: map[string]topology.Stored{}, Prices: map[string]topology.Prices{"east": amazon, "west": amazon}}
			c.books(&b)
			got := usage.Compute(b)
			if len(got.Regions) != 2 || got.Regions[0].Region != "east" || got.Regions[0].Role != "serves" || got.Regions[1].Role != "receives" || got.Month != "2026-11" {
				t.Fatalf("got %+v", got)
			}
			r := got.Regions[0]
			if c.region == "west" {
				r = got.Regions[1]
			}
			if !near(r.ToDate, c.toDate) || !near(r.Projected, c.projected) {
				t.Errorf("to date %+v, want %+v; projected %+v, want %+v", r.ToDate, c.toDate, r.Projected, c.projected)
			}
		})
	}
}

func near(a, b topology.Amounts) bool {
	return math.Abs(a.Storage-b.Storage)+math.Abs(a.Requests-b.Requests)+math.Abs(a.Egress-b.Egress) < 1e-9
}

func TestWhatIsNotKnownIsSaid(t *testing.T) {
	b := usage.Books{Group: group(), Now: tenth, Stored: map[string]topology.Stored{"west": {Partial: true}},
		Usage: []topology.Usage{account("east", tenth.Add(-2*time.Hour), map[string]topology.Requests{"west": {Puts: 1}})}}
	notes := strings.Join(usage.Compute(b).Notes, "\n")
	for _, want := range []string{"bucket of east holds is not known", "bucket of west holds more", "guess from less than a day", "command line"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in:\n%s", want, notes)
		}
	}
	b.Usage[0].Since = tenth.Add(-time.Minute)
	if c := usage.Compute(b); !c.Regions[1].TooEarly || !strings.Contains(strings.Join(c.Notes, "\n"), "too short to say") {
		t.Errorf("a month is projected from a minute: %+v", c)
	}
	b.Usage = nil
	if notes := strings.Join(usage.Compute(b).Notes, "\n"); !strings.Contains(notes, "No worker has counted anything for west") {
		t.Errorf("got:\n%s", notes)
	}
}

func TestAGroupWithOneRegionHasOneCost(t *testing.T) {
	g := group()
	g.Secondary = ""
	if c := usage.Compute(usage.Books{Group: g, Now: tenth}); len(c.Regions) != 1 || c.Regions[0].Region != "east" {
		t.Errorf("got %+v", c.Regions)
	}
}

func TestMonthsAreKeptForAYear(t *testing.T) {
	var u topology.Usage
	for i := range 20 {
		u.Add("west", topology.Requests{Puts: 1}, month.AddDate(0, i, 0))
	}
	b := u.Buckets["west"]
	if len(b.Months) != 13 || b.Total.Puts != 20 || b.Months["2028-06"].Puts != 1 || b.Months["2026-11"].Puts != 0 {
		t.Errorf("got %+v", b)
	}
}
