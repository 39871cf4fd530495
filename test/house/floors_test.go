// Package house_test checks that the house stands as ARCHITECTURE.md draws it: a room imports only rooms on floors below.
package house_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/smartdr/smartdr/"

// floors lists every room with its floor. A room that is missing here fails the test: put it where it belongs.
var floors = map[string]int{
	"internal/wal": 1, "internal/fault": 1, "internal/topology": 1, "internal/dsn": 1,
	"internal/replication": 2, "internal/postgres": 2, "internal/objectstore": 2, "internal/hook": 2,
	"internal/archive": 3, "internal/snapshot": 3, "internal/catalog": 3, "internal/metadata": 3, "internal/preflight": 3, "internal/usage": 3, "internal/fence": 3, "internal/missing": 3,
	"internal/ship": 4, "internal/restore": 4, "internal/readiness": 4, "internal/history": 4, "internal/retention": 4, "internal/verify": 4,
	"activities":   5,
	"workflows":    6,
	"internal/api": 7,
	"internal/cli": 8,
	"starter":      9, "worker": 9,
}

// sameFloor lists the neighbours that a room may import although they are not below it, each with its reason.
var sameFloor = map[string][]string{
	"internal/replication": {"internal/dsn"},
	// the values a group is made of hold positions, and both are plain
	"internal/topology": {"internal/wal", "internal/fault"},
	"internal/dsn":      {"internal/topology", "internal/fault"},
	"internal/wal":      {"internal/fault"},
	// what is lost is told in windows, and what a bucket holds by kind is listed once
	"internal/verify": {"internal/history", "internal/retention"},
}

// beside are the rooms that belong to no floor, with the highest floor that each may import.
var beside = map[string]int{
	"internal/telemetry": 1,
	"internal/config":    2,
	"internal/devenv":    9,
	"test":               9,
	"bench":              9,
}

func TestARoomImportsOnlyRoomsBelow(t *testing.T) {
	for room, imports := range roomImports(t) {
		for _, imported := range imports {
			if problem := judge(room, imported); problem != "" {
				t.Error(problem)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		room, imported string
		allowed        bool
	}{
		{"internal/ship", "internal/archive", true},
		{"internal/archive", "internal/ship", false},
		{"internal/ship", "internal/restore", false},
		{"internal/archive", "internal/devenv", false},
		{"internal/config", "internal/objectstore", true},
		{"internal/config", "internal/catalog", false},
		{"internal/nowhere", "internal/wal", false},
	} {
		if got := judge(c.room, c.imported) == ""; got != c.allowed {
			t.Errorf("%s importing %s: allowed %v, want %v", c.room, c.imported, got, c.allowed)
		}
	}
}

// judge returns what is wrong with room importing imported, or "".
func judge(room, imported string) string {
	if room == imported {
		return ""
	}
	for _, r := range sameFloor[room] {
		if r == imported {
			return ""
		}
	}
	limit, isBeside := beside[room]
	if !isBeside {
		f, ok := floors[room]
		if !ok {
			return room + " has no floor in this test"
		}
		limit = f - 1
	}
	if f, ok := floors[imported]; ok {
		if f > limit {
			return room + " imports " + imported + ", which is not below it"
		}
		return ""
	}
	if _, ok := beside[imported]; !ok {
		return imported + " has no floor in this test"
	}
	if isBeside || allowedBeside(imported, limit) {
		return ""
	}
	return room + " imports " + imported + ", which is not for it"
}

// allowedBeside: telemetry and config serve the rooms that wire things together, from the activities up.
func allowedBeside(imported string, limit int) bool {
	return limit >= 4 && (imported == "internal/telemetry" || imported == "internal/config")
}

func roomImports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	rooms := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		pkg, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, imp := range strings.Fields(rest) {
			if strings.HasPrefix(imp, module) {
				rooms[roomOf(pkg)] = append(rooms[roomOf(pkg)], roomOf(imp))
			}
		}
	}
	if len(rooms) == 0 {
		t.Fatal("no room was found: the test looks in the wrong place")
	}
	return rooms
}

// roomOf shortens an import path to its room: "internal/x", or the top folder.
func roomOf(pkg string) string {
	parts := strings.Split(strings.TrimPrefix(pkg, module), "/")
	if parts[0] == "internal" && len(parts) > 1 {
		return parts[0] + "/" + parts[1]
	}
	return parts[0]
}
