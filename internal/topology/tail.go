package topology

// NotBehind returns t, or where other was further of the same lineage what other says: what a bucket was found to hold stays true,
// and so does that nothing is missing. What is said of the moment is t's.
func (t Tail) NotBehind(other Tail) Tail {
	if other.Lineage != t.Lineage {
		if t.Lineage == "" {
			return other
		}
		return t
	}
	t.Complete = t.Complete || other.Complete
	if t.At.Compare(other.At) < 0 {
		t.At, t.Region, t.From = other.At, other.Region, other.From
	}
	if t.Commits < other.Commits {
		t.Commits, t.Last = other.Commits, other.Last
	}
	if t.Complete {
		t.Error = ""
	}
	if t.SeenAt.Before(other.SeenAt) {
		t.SeenAt = other.SeenAt
	}
	return t
}
