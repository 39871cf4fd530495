package devenv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
)

// SearchAttributes are the search attributes that SmartDR's workflows set; all are of type Keyword.
var SearchAttributes = []string{"SmartDRGroup", "SmartDRRegion", "SmartDRPhase"}

// TemporalOptions describe a Temporal server. The zero value of all but Dir is a choice.
type TemporalOptions struct {
	Dir          string // its folder, with the database and the log
	Port, UIPort int    // default: free ones
	NoUI         bool
	Outlive      bool // it lives on when this process ends
}

// Temporal is a Temporal dev server with a database file.
type Temporal struct {
	*Process
	opts TemporalOptions
}

// StartTemporal starts a Temporal server, with what its database file already holds, and waits until its default
// namespace and the search attributes can be used.
func StartTemporal(ctx context.Context, opts TemporalOptions) (*Temporal, error) {
	path, err := Tool("temporal")
	if err != nil {
		return nil, err
	}
	if err := opts.setDefaults(); err != nil {
		return nil, err
	}
	t := &Temporal{opts: opts}
	t.Process, err = Command{
		Name: "temporal", Path: path, Args: opts.args(),
		LogFile: filepath.Join(opts.Dir, "temporal.log"), DieWithParent: !opts.Outlive, Ready: t.ready, Sick: t.poisoned,
	}.Start(ctx)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (o *TemporalOptions) setDefaults() (err error) {
	if o.Port == 0 {
		if o.Port, err = FreePort(); err != nil {
			return err
		}
	}
	if o.UIPort == 0 && !o.NoUI {
		o.UIPort, err = FreePort()
	}
	return err
}

func (o *TemporalOptions) args() []string {
	args := []string{
		"server", "start-dev", "--ip", "127.0.0.1", "--port", strconv.Itoa(o.Port), "--db-filename", filepath.Join(o.Dir, "temporal.db"),
		"--log-level", "warn",
		// Survives the death of the process, which is what is tried here, at a fraction of the cost of the default.
		"--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal",
	}
	for _, a := range SearchAttributes {
		args = append(args, "--search-attribute", a+"=Keyword")
	}
	if o.NoUI {
		return append(args, "--headless")
	}
	return append(args, "--ui-port", strconv.Itoa(o.UIPort))
}

// Addr returns host and port of the frontend service.
func (t *Temporal) Addr() string { return fmt.Sprintf("127.0.0.1:%d", t.opts.Port) }

// UIURL returns where the web UI is, or "".
func (t *Temporal) UIURL() string {
	if t.opts.NoUI {
		return ""
	}
	return fmt.Sprintf("http://127.0.0.1:%d", t.opts.UIPort)
}

// Dial connects to the default namespace. The caller closes the client.
func (t *Temporal) Dial(ctx context.Context) (client.Client, error) {
	return client.DialContext(ctx, client.Options{HostPort: t.Addr(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
}

func (t *Temporal) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	known, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: "default"})
	if err != nil {
		return err
	}
	for _, a := range SearchAttributes {
		if known.GetCustomAttributes()[a] != enums.INDEXED_VALUE_TYPE_KEYWORD {
			return errors.New("search attribute " + a + " is not registered yet")
		}
	}
	if !t.opts.NoUI {
		return answersHTTP(ctx, t.UIURL())
	}
	return nil
}
