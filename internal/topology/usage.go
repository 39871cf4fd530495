package topology

import (
	"maps"
	"slices"
	"time"
)

// Requests counts what was asked of one bucket. Attempts that failed and were made again are counted each, as they are
// billed.
type Requests struct {
	Gets     int64 `json:"gets,omitempty"`
	Puts     int64 `json:"puts,omitempty"`
	Heads    int64 `json:"heads,omitempty"`
	Lists    int64 `json:"lists,omitempty"` // of at most 1000 objects
	Deletes  int64 `json:"deletes,omitempty"`
	Errors   int64 `json:"errors,omitempty"`   // of all these, save for "not there" and lost conditions
	BytesIn  int64 `json:"bytesIn,omitempty"`  // bodies read from the bucket
	BytesOut int64 `json:"bytesOut,omitempty"` // bodies written to it
}

// Plus returns the sum.
func (r Requests) Plus(o Requests) Requests {
	return Requests{
		Gets: r.Gets + o.Gets, Puts: r.Puts + o.Puts, Heads: r.Heads + o.Heads, Lists: r.Lists + o.Lists, Deletes: r.Deletes + o.Deletes,
		Errors: r.Errors + o.Errors, BytesIn: r.BytesIn + o.BytesIn, BytesOut: r.BytesOut + o.BytesOut,
	}
}

// Minus returns the difference.
func (r Requests) Minus(o Requests) Requests {
	return Requests{
		Gets: r.Gets - o.Gets, Puts: r.Puts - o.Puts, Heads: r.Heads - o.Heads, Lists: r.Lists - o.Lists, Deletes: r.Deletes - o.Deletes,
		Errors: r.Errors - o.Errors, BytesIn: r.BytesIn - o.BytesIn, BytesOut: r.BytesOut - o.BytesOut,
	}
}

// Usage is what the worker of one host asked of the buckets for one group (catalog document usage/<region>.<host>.json of
// the group, in the bucket of the worker's region).
type Usage struct {
	Region    string                 `json:"region"` // where the worker runs
	Host      string                 `json:"host"`
	Since     time.Time              `json:"since"`     // counted from then on
	UpdatedAt time.Time              `json:"updatedAt"` // the worker's clock
	Last      string                 `json:"last"`      // which addition was the last, so that none is made twice
	Buckets   map[string]BucketUsage `json:"buckets"`   // by the region of the bucket
}

// BucketUsage is one bucket's share.
type BucketUsage struct {
	Total  Requests            `json:"total"`
	Months map[string]Requests `json:"months"` // as "2026-11", in UTC; the last 13
}

// monthsKept is a year, and the month that it is compared with.
const monthsKept = 13

// Month names the month of a moment, in UTC.
func Month(t time.Time) string { return t.UTC().Format("2006-01") }

// Add adds what was asked of the bucket of a region until now.
func (u *Usage) Add(bucket string, r Requests, now time.Time) {
	if u.Buckets == nil {
		u.Buckets = map[string]BucketUsage{}
	}
	b := u.Buckets[bucket]
	b.Total = b.Total.Plus(r)
	if b.Months == nil {
		b.Months = map[string]Requests{}
	}
	b.Months[Month(now)] = b.Months[Month(now)].Plus(r)
	if names := slices.Sorted(maps.Keys(b.Months)); len(names) > monthsKept {
		for _, old := range names[:len(names)-monthsKept] {
			delete(b.Months, old)
		}
	}
	u.Buckets[bucket] = b
}

// The kinds of object that a bucket holds of a group.
const (
	StoredWAL       = "wal"       // segments and history files
	StoredSnapshots = "snapshots" // packs, their indexes, and manifests
	StoredCatalog   = "catalog"   // all else
)

// Stored is what a bucket holds of a group.
type Stored struct {
	Region   string                `json:"region"`
	ListedAt time.Time             `json:"listedAt"`
	Kinds    map[string]StoredKind `json:"kinds"`
	Partial  bool                  `json:"partial,omitempty"` // there was more than was listed
}

// StoredKind is one kind's share.
type StoredKind struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Sum adds up all kinds.
func (s Stored) Sum() (all StoredKind) {
	for _, k := range s.Kinds {
		all.Objects, all.Bytes = all.Objects+k.Objects, all.Bytes+k.Bytes
	}
	return all
}

// Prices are what a region's object store costs.
type Prices struct {
	Currency       string  `json:"currency"`
	StorageGBMonth float64 `json:"storageGBMonth"` // for a GiB stored for a month
	PutPer1000     float64 `json:"putPer1000"`     // for 1000 PUT and LIST requests
	GetPer1000     float64 `json:"getPer1000"`     // for 1000 GET and HEAD requests; DELETE is free
	EgressPerGB    float64 `json:"egressPerGB"`    // for a GiB that leaves the region
}

// Cost is what a group's object storage costs, from real counters.
type Cost struct {
	Group   string       `json:"group"`
	Month   string       `json:"month"`
	ReadAt  time.Time    `json:"readAt"`
	Regions []RegionCost `json:"regions"`
	Notes   []string     `json:"notes,omitempty"` // what is not known, or not counted
}

// RegionCost is one region's share. Money is in the currency of Prices.
type RegionCost struct {
	Region       string    `json:"region"`
	Role         string    `json:"role"` // "serves" or "receives"
	Stored       *Stored   `json:"stored,omitempty"`
	Requests     Requests  `json:"requests"`     // asked of the region's bucket this month, from anywhere
	EgressBytes  int64     `json:"egressBytes"`  // that left the region this month
	CountedSince time.Time `json:"countedSince"` // within the month; zero: nothing was counted
	Prices       Prices    `json:"prices"`
	ToDate       Amounts   `json:"toDate"`             // this month until now
	Projected    Amounts   `json:"projected"`          // the whole month, at the present size and rate
	TooEarly     bool      `json:"tooEarly,omitempty"` // counted for less than an hour: Projected has storage alone
}

// Amounts are money.
type Amounts struct {
	Storage  float64 `json:"storage"`
	Requests float64 `json:"requests"`
	Egress   float64 `json:"egress"`
}

// Sum adds up all of it.
func (a Amounts) Sum() float64 { return a.Storage + a.Requests + a.Egress }
