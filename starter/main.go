// Command smartdr is the command line of SmartDR. Build it with `go build -o bin/smartdr ./starter`.
package main

import (
	"os"

	"github.com/smartdr/smartdr/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], cli.Process())) }
