package devenv

import "github.com/smartdr/smartdr/internal/postgres/postgrestest/ports"

// FreePort returns a port that nobody else on this host gets from it until this process ends.
func FreePort() (int, error) { return ports.Free() }

// FreePorts reserves n ports in a row, as FreePort does one, and returns the first.
func FreePorts(n int) (int, error) { return ports.Row(n) }
