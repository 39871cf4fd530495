package activities

// VerifyBucketInput asks to check what a region's bucket holds of a group.
type VerifyBucketInput struct {
	Group  string `json:"group"`
	Region string `json:"region"`
	Read   string `json:"read"`           // topology.VerifyNone, VerifySample or VerifyAll
	Seed   uint64 `json:"seed,omitempty"` // of the sample; 0: any
}
