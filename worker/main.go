// Command smartdr-worker does the work of one host of a region: it polls the task queues `smartdr`, `smartdr-<region>` and
// `smartdr-<region>/<host>`.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/fault"
)

func main() {
	var o options
	flag.StringVar(&o.config, "config", "", "configuration file (default: $SMARTDR_CONFIG, then smartdr.yaml)")
	flag.StringVar(&o.region, "region", os.Getenv("SMARTDR_REGION"), "region that this worker runs in (default: $SMARTDR_REGION)")
	flag.StringVar(&o.own.Host, "host", "", "this machine's name among the region's hosts (default: worker.host of the file, then what the data folder says, then the machine's name)")
	flag.StringVar(&o.own.DataDir, "data-dir", "", "instead of worker.dataDir: several hosts of a region share one file")
	flag.StringVar(&o.own.Listen, "listen", "", "instead of worker.listen")
	flag.StringVar(&o.own.AdvertiseHost, "advertise-host", "", "instead of worker.advertiseHost")
	flag.Func("ports", "instead of worker.ports, as 6000-6099", func(s string) (err error) {
		o.own.Ports, err = config.ParsePorts(s)
		return err
	})
	flag.StringVar(&o.metrics, "metrics", "", "address to serve Prometheus metrics on, as 127.0.0.1:9187 (default: none)")
	flag.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flag.StringVar(&o.logFormat, "log-format", "text", "text or json")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "smartdr-worker:", err)
		if hint := fault.HintOf(err); hint != "" {
			fmt.Fprintln(os.Stderr, "  "+hint)
		}
		os.Exit(1)
	}
}
