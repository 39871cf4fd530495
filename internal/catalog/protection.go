package catalog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func protectionKey(group string) string { return groupsPrefix + group + "/protection.json" }

// protectionDocument is a verdict as stored (catalog document protection.json).
type protectionDocument topology.Protection

func (d protectionDocument) age() age { return age{d.Epoch, d.Since} }

// PutProtection stores whether a group could fail over; never over what a newer epoch has found.
func (c *Catalog) PutProtection(ctx context.Context, group string, p topology.Protection) error {
	if err := checkNames(group); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	p.Format = format
	body, err := json.Marshal(p)
	if err != nil {
		return fault.New(fault.Invalid, "write protection", err)
	}
	key := protectionKey(group)
	return c.spread(ctx, regions, write{key: key, overtake: newerOf[protectionDocument](key), next: func(there []byte) ([]byte, error) {
		return body, checkSupersedes(key, protectionDocument(p), there)
	}})
}

// Protection returns what was last found; fault.Missing when nothing was.
func (c *Catalog) Protection(ctx context.Context, group string) (topology.Protection, error) {
	if err := checkNames(group); err != nil {
		return topology.Protection{}, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return topology.Protection{}, err
	}
	return c.protection(ctx, regions, group)
}

func (c *Catalog) protection(ctx context.Context, regions []string, group string) (topology.Protection, error) {
	d, err := readNewest[protectionDocument](ctx, c, regions, protectionKey(group))
	return topology.Protection(d), err
}

// judgeProtection judges s as it is now. Since is of the stored verdict where that still holds, and now where it changed.
func (c *Catalog) judgeProtection(ctx context.Context, regions []string, s *topology.GroupStatus, now time.Time) error {
	found := s.Protected()
	if found == nil {
		return nil
	}
	stored, err := c.protection(ctx, regions, s.Group.Name)
	if known(err) != nil && !fault.Is(err, fault.Corrupt) {
		return err
	}
	found.Since = now.UTC()
	if err == nil && stored.Protected == found.Protected && stored.Region == found.Region {
		found.Since = stored.Since
	}
	s.Protection = found
	return nil
}
