package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/topology"
)

func withPrices(t *testing.T, prices string) (Prices, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "smartdr.yaml")
	if err := os.WriteFile(file, []byte("regions:\n  west:\n    bucket: b-w\n    prices: "+prices+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		return Prices{}, err
	}
	return c.Regions["west"].Prices, nil
}

func TestPricesGoOverTheDefaults(t *testing.T) {
	amazon := topology.Prices{Currency: "USD", StorageGBMonth: 1, PutPer1000: 2, GetPer1000: 3, EgressPerGB: 4}
	for text, want := range map[string]topology.Prices{
		"{}":                                amazon,
		"{storageGBMonth: 0}":               {Currency: "USD", PutPer1000: 2, GetPer1000: 3, EgressPerGB: 4},
		"{egressPerGB: 0.5, putPer1000: 7}": {Currency: "USD", StorageGBMonth: 1, PutPer1000: 7, GetPer1000: 3, EgressPerGB: 0.5},
		"{currency: EUR, storageGBMonth: 5, putPer1000: 6, getPer1000: 7, egressPerGB: 8}": {Currency: "EUR", StorageGBMonth: 5, PutPer1000: 6, GetPer1000: 7, EgressPerGB: 8},
	} {
		p, err := withPrices(t, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, p.Over(amazon)); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
}

func TestBadPricesGetASentence(t *testing.T) {
	for text, says := range map[string]string{
		"{storageGBMonth: -1}": "storageGBMonth is negative",
		"{currency: EUR}":      "prices are in EUR and storageGBMonth is left out",
		"{storage: 1}":         "line 4",
		"{putPer1000: much}":   "line 4",
	} {
		if _, err := withPrices(t, text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
