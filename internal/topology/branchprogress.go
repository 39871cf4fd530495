package topology

// BranchProgress is how far the WAL of an attached branch is in its region's bucket (catalog document branches/<branch>/<attachment>.json).
type BranchProgress struct {
	WALProgress
	// Discarded: somebody gave up what had not reached the bucket, and the server's files with it.
	Discarded bool `json:"discarded,omitempty"`
}
