package usage

import (
	"fmt"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// AmazonPrices are what Amazon S3 asked in US East (N. Virginia) in 2025: S3 Standard, the first 50 TB, and transfer to
// another region of theirs (https://aws.amazon.com/s3/pricing/). Theirs and others' change: smartdr.yaml has a place
// for each region's own.
var AmazonPrices = topology.Prices{Currency: "USD", StorageGBMonth: 0.023, PutPer1000: 0.005, GetPer1000: 0.0004, EgressPerGB: 0.02}

// gib is what Amazon bills as a GB.
const gib = 1 << 30

// Books are what a cost is computed from.
type Books struct {
	Group  topology.Group
	Usage  []topology.Usage           // of the group, one for each worker
	Stored map[string]topology.Stored // by region
	Prices map[string]topology.Prices // by region
	Now    time.Time
}

// Compute says what a group's storage costs in each of its regions. It does no I/O.
func Compute(b Books) topology.Cost {
	c := topology.Cost{Group: b.Group.Name, Month: topology.Month(b.Now), ReadAt: b.Now.UTC()}
	for _, region := range []string{b.Group.Active, b.Group.Other(b.Group.Active)} {
		if region != "" {
			c.Regions = append(c.Regions, b.region(region))
		}
	}
	c.Notes = b.notes(c)
	return c
}

func (b Books) region(region string) topology.RegionCost {
	r := topology.RegionCost{Region: region, Role: "receives", Prices: b.Prices[region]}
	if region == b.Group.Active {
		r.Role = "serves"
	}
	if s, ok := b.Stored[region]; ok {
		r.Stored = &s
	}
	month := topology.Month(b.Now)
	for _, u := range b.Usage {
		r.Requests = r.Requests.Plus(u.Buckets[region].Months[month])
		r.EgressBytes += egress(u, region, month)
		if since := latest(u.Since, monthStart(b.Now)); r.CountedSince.IsZero() || since.Before(r.CountedSince) {
			r.CountedSince = since
		}
	}
	b.price(&r)
	return r
}

// egress is what left a region through one worker: what a worker there wrote elsewhere, and what one elsewhere read from
// the region's bucket.
func egress(u topology.Usage, region, month string) (bytes int64) {
	for bucket, used := range u.Buckets {
		switch {
		case u.Region == region && bucket != region:
			bytes += used.Months[month].BytesOut
		case u.Region != region && bucket == region:
			bytes += used.Months[month].BytesIn
		}
	}
	return bytes
}

// price fills in what is paid: storage for the time since the month or the group began, at the present size; the rest as
// counted, and for the whole month at the rate since counting began.
func (b Books) price(r *topology.RegionCost) {
	start, end := monthStart(b.Now), monthStart(b.Now).AddDate(0, 1, 0)
	if r.Stored != nil {
		monthly := float64(r.Stored.Sum().Bytes) / gib * r.Prices.StorageGBMonth
		from := latest(start, b.Group.CreatedAt)
		r.ToDate.Storage = monthly * share(b.Now.Sub(from), end.Sub(start))
		r.Projected.Storage = monthly * share(end.Sub(from), end.Sub(start))
	}
	r.ToDate.Requests = float64(r.Requests.Puts+r.Requests.Lists)/1000*r.Prices.PutPer1000 + float64(r.Requests.Gets+r.Requests.Heads)/1000*r.Prices.GetPer1000
	r.ToDate.Egress = float64(r.EgressBytes) / gib * r.Prices.EgressPerGB
	if r.TooEarly = r.CountedSince.IsZero() || b.Now.Sub(r.CountedSince) < tooShort; r.TooEarly {
		return
	}
	rest := float64(end.Sub(r.CountedSince)) / float64(b.Now.Sub(r.CountedSince))
	r.Projected.Requests, r.Projected.Egress = r.ToDate.Requests*rest, r.ToDate.Egress*rest
}

// share is a part of a whole, between 0 and 1.
func share(part, whole time.Duration) float64 {
	return min(max(float64(part)/float64(whole), 0), 1)
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func monthStart(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

const (
	// tooShort is nothing to project a month from: a worker's start and a first snapshot say nothing of a month.
	tooShort = time.Hour
	// shortly is little to project a month from.
	shortly = 24 * time.Hour
)

func (b Books) notes(c topology.Cost) []string {
	notes := []string{
		"Requests are counted by the workers, each attempt; those of this command line and of other programs are not among them.",
		"Storage is priced at the present size, since the month or the group began; older versions that a bucket keeps are not known.",
	}
	for _, r := range c.Regions {
		switch {
		case r.Stored == nil:
			notes = append(notes, fmt.Sprintf("What the bucket of %s holds is not known: it could not be listed.", r.Region))
		case r.Stored.Partial:
			notes = append(notes, fmt.Sprintf("The bucket of %s holds more than was listed.", r.Region))
		}
		switch counted := b.Now.Sub(r.CountedSince); {
		case r.CountedSince.IsZero():
			notes = append(notes, fmt.Sprintf("No worker has counted anything for %s yet.", r.Region))
		case r.TooEarly:
			notes = append(notes, fmt.Sprintf("Requests of %s are counted since %s: too short to say what a month comes to.", r.Region, r.CountedSince.UTC().Format("2006-01-02 15:04 UTC")))
		case counted < shortly:
			notes = append(notes, fmt.Sprintf("Requests of %s are counted since %s: what they come to in a month is a guess from less than a day, first snapshots included.",
				r.Region, r.CountedSince.UTC().Format("2006-01-02 15:04 UTC")))
		}
	}
	return notes
}
