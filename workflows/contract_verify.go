package workflows

import "github.com/smartdr/smartdr/internal/topology"

// VerifyResult is what a check found, region by region. What the whole account says lies in the buckets: findings here are the worst ones.
type VerifyResult struct {
	Regions []topology.Verified `json:"regions"`
}
