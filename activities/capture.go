package activities

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
)

const (
	// captureEvery is how soon a change of settings, access rules or roles is in the buckets.
	captureEvery = 10 * time.Second
	// signEvery is how often a capture is written that found nothing new, so that its age says whether anybody looks.
	signEvery = 5 * time.Minute
	// captureShare is the part of the time that looking may take: the looks at a server with very many objects are spaced out.
	captureShare = 20
)

// CaptureMetadata keeps what a physical copy lacks, and an inventory of what it must hold, every few seconds for one turn.
func (s *Source) CaptureMetadata(ctx context.Context, in SourceInput) error {
	c := &capturer{Source: s}
	return s.everySoOften(ctx, in, captureEvery, c.look)
}

// capturer is one turn of looks at a server.
type capturer struct {
	*Source
	metadata, inventory written
	lastMetadata        *metadata.Metadata
	lastInventory       *metadata.Inventory
	view                shower
}

// written is what was last written of a document.
type written struct {
	content   string
	at        time.Time
	notBefore time.Time // of the next look
}

// spaced looks unless the last look was so long that it is too early. Each document has a pace of its own: an inventory takes
// seconds, and settings and access rules must not wait for it.
func (w *written) spaced(look func() error) error {
	begin := time.Now()
	if begin.Before(w.notBefore) {
		return nil
	}
	defer func() { w.notBefore = begin.Add(captureShare * time.Since(begin)) }()
	return look()
}

// due reports whether a document is to be written: its content is new, or the last sign of life is old.
func (w written) due(content string, now time.Time) bool {
	return w.content != content || now.Sub(w.at) >= signEvery
}

func (c *capturer) look(ctx context.Context, in SourceInput, sub subject) error {
	conn, err := postgres.Open(ctx, sub.source)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	if fenced, err := fence.On(ctx, conn); err != nil || fenced {
		return err // what is to be seen is the fence's, not the server's own
	}
	c.show(ctx, in, sub, conn)
	// Each is written as soon as it is there: what goes wrong with one must not keep the other back.
	return errors.Join(
		c.metadata.spaced(func() error { return c.captureMetadata(ctx, in, conn) }),
		c.inventory.spaced(func() error { return c.captureInventory(ctx, in, conn) }))
}

func (c *capturer) captureMetadata(ctx context.Context, in SourceInput, conn *pgx.Conn) error {
	m, err := metadata.Capture(ctx, conn)
	if err != nil {
		return err
	}
	// The fence may have come while the server was read.
	if fenced, err := fence.On(ctx, conn); err != nil || fenced || slices.ContainsFunc(m.HBA, func(r metadata.HBARule) bool { return fence.Narrowed(r.Users) }) {
		return err
	}
	if len(m.Unread) > 0 {
		if c.lastMetadata == nil {
			c.lastMetadata = c.formerMetadata(ctx, in)
		}
		m = m.Completed(*c.lastMetadata)
	}
	c.lastMetadata = &m
	content, err := m.Content()
	if err != nil || !c.metadata.due(string(content), m.CapturedAt) {
		return err
	}
	document, err := json.Marshal(m)
	if err != nil {
		return fault.New(fault.Invalid, "write metadata", err)
	}
	err = c.Catalog.PutMetadata(ctx, in.Group, in.Workspace, catalog.Metadata{
		Epoch: in.Epoch, CapturedAt: m.CapturedAt, Databases: names(m.Databases), Server: document,
	})
	if err == nil {
		c.metadata.content, c.metadata.at = string(content), m.CapturedAt
	}
	return err
}

func names(databases []metadata.Database) (all []string) {
	for _, d := range databases {
		if !d.Template {
			all = append(all, d.Name)
		}
	}
	return all
}

// formerMetadata returns what an earlier turn captured, or nothing: what it knows is welcome, and not needed.
func (c *capturer) formerMetadata(ctx context.Context, in SourceInput) *metadata.Metadata {
	var m metadata.Metadata
	if document, err := c.Catalog.Metadata(ctx, in.Group, in.Workspace); err == nil {
		_ = json.Unmarshal(document.Server, &m)
	}
	return &m
}

func (c *capturer) captureInventory(ctx context.Context, in SourceInput, conn *pgx.Conn) error {
	v, notes, err := metadata.CaptureInventory(ctx, conn, metadata.InventoryOptions{})
	if err != nil {
		return err
	}
	for _, n := range notes {
		c.Log.WarnContext(ctx, n, "group", in.Group, "workspace", in.Workspace)
	}
	if len(notes) > 0 {
		if c.lastInventory == nil {
			c.lastInventory = c.formerInventory(ctx, in)
		}
		v = v.Completed(*c.lastInventory)
	}
	c.lastInventory = &v
	content, looks, err := metadata.EncodeInventory(v)
	if err != nil || !c.inventory.due(string(content), time.Now()) {
		return err
	}
	now := time.Now().UTC()
	err = c.Catalog.PutInventory(ctx, in.Group, in.Workspace, catalog.Inventory{Epoch: in.Epoch, CapturedAt: now, Looks: looks, Content: content})
	if err == nil {
		c.inventory.content, c.inventory.at = string(content), now
	}
	return err
}

func (c *capturer) formerInventory(ctx context.Context, in SourceInput) *metadata.Inventory {
	v, err := readInventory(ctx, c.Catalog, in.Group, in.Workspace)
	if err != nil {
		return &metadata.Inventory{}
	}
	return &v
}

// readInventory returns what was last captured; fault.Missing when nothing was.
func readInventory(ctx context.Context, c *catalog.Catalog, group, workspace string) (metadata.Inventory, error) {
	document, err := c.Inventory(ctx, group, workspace)
	if err != nil {
		return metadata.Inventory{}, err
	}
	return metadata.DecodeInventory(document.Content, document.Looks)
}
