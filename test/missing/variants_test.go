package missing_test

// variant is a way in which the old server may differ from others.
type variant struct {
	name     string
	settings map[string]string
	turned   bool // its transaction numbers go round
}

// variants are those in which histories run.
func variants() []variant {
	list := []variant{{name: "usual"}}
	if !full() {
		return list
	}
	return append(list,
		variant{name: "logical", settings: map[string]string{"wal_level": "logical"}},
		variant{name: "compressed", settings: map[string]string{"wal_compression": "on"}},
		variant{name: "hints", settings: map[string]string{"wal_log_hints": "on", "full_page_writes": "off"}},
		variant{name: "turned", turned: true},
		variant{name: "again"})
}
