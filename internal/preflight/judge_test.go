package preflight

import "testing"

func TestWaitsFor(t *testing.T) {
	for setting, want := range map[string]bool{
		"": false, "*": true, "other": false, "FIRST 1 (a, smartdr_x)": true, "ANY 2 (a, b)": false, `"smartdr_x"`: true, "a,*": true,
	} {
		if got := waitsFor(setting, "smartdr_x"); got != want {
			t.Errorf("waitsFor(%q) = %v, want %v", setting, got, want)
		}
	}
}

func TestVersionsBefore15AreRefused(t *testing.T) {
	fit := Facts{ServerVersion: 150018, WALLevel: "replica", FullPageWrites: true, MaxSenders: 10, MaxSlots: 10, MayReplicate: true, MayReadSettings: true, Superuser: true}
	if problems, warnings := judge(fit, Options{}); len(problems)+len(warnings) > 0 {
		t.Fatalf("a fit server has problems %v, warnings %v", problems, warnings)
	}
	old := fit
	old.ServerVersion = 140012
	if problems, _ := judge(old, Options{}); len(problems) != 1 || problems[0].Code != "version" {
		t.Errorf("PostgreSQL 14: problems %v", problems)
	}
	for code, change := range map[string]func(*Facts){
		"fence":               func(f *Facts) { f.Superuser = false },
		"idle-slot":           func(f *Facts) { f.IdleSlotTimeout = 60 },
		"old-minor":           func(f *Facts) { f.ServerVersion = 160006 },
		"new-version":         func(f *Facts) { f.ServerVersion = 190000 },
		"pooler":              func(f *Facts) { f.Pooled = true },
		"managed":             func(f *Facts) { f.Manager = "Patroni" },
		"in-place-tablespace": func(f *Facts) { f.InPlaceTablespaces = []string{"t"} },
	} {
		f := fit
		change(&f)
		if problems, warnings := judge(f, Options{SlotName: "s"}); len(problems) != 0 || len(warnings) != 1 || warnings[0].Code != code {
			t.Errorf("%s: problems %v, warnings %v", code, problems, warnings)
		}
	}
}
