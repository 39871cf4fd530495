package topology

// Firewall is who may reach the servers of a group that SmartDR runs.
type Firewall struct {
	Ranges   []string `json:"ranges"`             // CIDR, canonical, sorted; none lets nobody in by network
	AllowAll bool     `json:"allowAll,omitempty"` // everybody, whatever Ranges says: the workspace's own rules decide
}

// IsZero reports whether nothing was ever said: a group of adopted servers has no firewall unless somebody gives it one, and
// then the workspace's own rules decide alone.
func (f Firewall) IsZero() bool { return !f.AllowAll && f.Ranges == nil }
