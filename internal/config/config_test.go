package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

func TestTheExample(t *testing.T) {
	c, err := Load("../../docs/smartdr.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"east", "west"}, c.RegionNames()); diff != "" {
		t.Error(diff)
	}
	want := Region{
		Provider: "own", Bucket: "smartdr", Endpoint: "https://minio.east.example.com:9000", S3Region: "us-east-1", Prefix: "dr/", PathStyle: true,
		Credentials: Credentials{AccessKeyEnv: "EAST_ACCESS_KEY", SecretKeyEnv: "EAST_SECRET_KEY"},
		Worker:      Worker{DataDir: "/var/lib/smartdr", Listen: "10.1.0.5", AdvertiseHost: "10.1.0.5", Ports: Ports{6000, 6099}},
		Prices: Prices{StorageGBMonth: new(0.008), PutPer1000: new(0.0), GetPer1000: new(0.0), EgressPerGB: new(0.01),
			CPUMonth: new(20.0), MemoryGBMonth: new(2.5), DiskGBMonth: new(0.1)},
	}
	if diff := cmp.Diff(want, c.Regions["east"]); diff != "" {
		t.Error(diff)
	}
}

func TestBadFilesGetASentence(t *testing.T) {
	region := func(more string) string { return "regions:\n  west:\n    bucket: b-w\n" + more }
	for name, c := range map[string]struct{ text, says string }{
		"empty":                  {"", "no region"},
		"only a comment":         {"# nothing\n", "no region"},
		"no YAML":                {"regions: [", "line 1"},
		"a tab":                  {"regions:\n\twest: {}\n", "line 2"},
		"unknown field":          {region("    bukket: x\n"), `line 4: unknown field "bukket"`},
		"unknown section":        {region("") + "region: {}\n", "line 4"},
		"twice":                  {region("    bucket: c\n"), "line 4"},
		"wrong type":             {region("    pathStyle: 7\n"), "line 4"},
		"no bucket":              {"regions:\n  west: {}\n", "region west has no bucket"},
		"bad name":               {"regions:\n  West_1: {bucket: b-w}\n", `"West_1"`},
		"endpoint no URL":        {region("    endpoint: minio:9000\n"), "not a URL"},
		"endpoint with password": {region("    endpoint: https://u:hunter2@minio\n"), "password"},
		"prefix with slash":      {region("    prefix: /dr\n"), "slash"},
		"half of the keys":       {region("    credentials: {accessKeyEnv: A}\n"), "missing"},
		"two places":             {region("    credentials: {accessKeyEnv: A, secretKeyEnv: B, profile: p}\n"), "profile"},
		"a key in the file":      {region("    credentials: {secretKey: hunter2}\n"), "secretKey"},
		"relative data folder":   {region("    worker: {dataDir: data}\n"), "not absolute"},
		"relative programs":      {region("    worker: {pgBinDirs: [bin]}\n"), "not absolute"},
		"ports upside down":      {region("    worker: {ports: 7000-6000}\n"), "range"},
		"memory in words":        {region("    worker: {memory: much}\n"), "64GiB"},
		"CPUs below nothing":     {region("    worker: {cpus: -1}\n"), "worker.cpus"},
		"bad name of a host":     {region("    worker: {host: DB_1}\n"), `"DB_1"`},
		"ports in words":         {region("    worker: {ports: many}\n"), "range"},
		"nothing to connect to":  {region("    worker: {dataDir: /d, listen: \"*\"}\n"), "connect"},
		"same bucket twice":      {region("  east:\n    bucket: b-w\n    prefix: ''\n"), "same bucket"},
		"temporal without port":  {region("temporal: {address: localhost}\n"), "host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "smartdr.yaml")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want fault.Invalid with the path and %q", err, c.says)
			}
			if fault.HintOf(err) == "" {
				t.Errorf("%v has no hint", err)
			}
			if all := fmt.Sprintf("%+v %s", err, fault.HintOf(err)); strings.Contains(all, "hunter2") || strings.Contains(all, "\n") {
				t.Errorf("the error shows a secret, or several lines: %s", all)
			}
		})
	}
}

func TestPortsMayBeOne(t *testing.T) {
	c, err := parse("x.yaml", []byte("regions: {west: {bucket: b-w, worker: {ports: 6000}}}"))
	if err != nil || c.Regions["west"].Worker.Ports != (Ports{6000, 6000}) {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestWhereTheFileIs(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Load("")
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "smartdr.yaml") {
		t.Errorf("got %v", err)
	}
	other := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(other, []byte("regions: {west: {bucket: b-w, credentials: {file: keys}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(EnvPath, other)
	c, err := Load("")
	if err != nil || c.Path() != other {
		t.Fatalf("%+v, %v", c, err)
	}
	if f := c.Regions["west"].Credentials.File; f != filepath.Join(filepath.Dir(other), "keys") {
		t.Errorf("the credentials' file is %s", f)
	}
	_, err = c.Region("mars")
	if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.HintOf(err), "west") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	s := NewSecret("hunter2")
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "s", s, "k", keys{access: s})
	j, err := json.Marshal(map[string]any{"s": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(s), fmt.Sprintf("%s %v %+v %#v %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%+v %#v", keys{secret: s}, &keys{secret: s}),
		logged.String(), string(j), string(y),
	} {
		if strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e") {
			t.Errorf("a secret shows: %s", shown)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("the secret is lost")
	}
}

// region returns a file for g with credentials by reference.
func region(g objectstore.S3Config, credentials string) []byte {
	return fmt.Appendf(nil, "regions: {west: {bucket: %s, endpoint: %q, s3Region: us-east-1, pathStyle: true, prefix: dr, credentials: %s}}", g.Bucket, g.Endpoint, credentials)
}

func TestOpenStoreFindsTheKeysWhereItIsTold(t *testing.T) {
	g := devtest.Gateway(t).S3Config()
	t.Setenv("WEST_ACCESS", g.AccessKey)
	t.Setenv("WEST_SECRET", g.SecretKey)
	file := filepath.Join(t.TempDir(), "keys")
	text := fmt.Sprintf("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n", g.AccessKey, g.SecretKey)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, credentials := range map[string]string{
		"variables": "{accessKeyEnv: WEST_ACCESS, secretKeyEnv: WEST_SECRET}", "file": fmt.Sprintf("{file: %q}", file),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := parse("x.yaml", region(g, credentials))
			if err != nil {
				t.Fatal(err)
			}
			stores, err := c.OpenStores(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := objectstore.Check(t.Context(), stores["west"]); err != nil {
				t.Fatal(err)
			}
		})
	}
	g.Prefix = "dr/" + objectstore.Root
	s, err := objectstore.NewS3(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Get(t.Context(), objectstore.MarkerKey); err != nil {
		t.Errorf("the keys do not begin with prefix and root: %v", err)
	}
}

func TestOpenStoreSaysWhichKeyIsMissing(t *testing.T) {
	for credentials, says := range map[string]string{
		"{accessKeyEnv: NOT_SET_A, secretKeyEnv: NOT_SET_B}": "NOT_SET_A",
		"{file: /nowhere/keys}":                              "/nowhere/keys",
	} {
		c, err := parse("x.yaml", region(objectstore.S3Config{Bucket: "b-w", Endpoint: "http://127.0.0.1:1"}, credentials))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.OpenStore(t.Context(), "west")
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) || fault.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
	}
}

func TestHostsOfARegionShareOneFile(t *testing.T) {
	text := []byte("regions: {west: {bucket: b-w, worker: {dataDir: /a, listen: 10.0.0.1, memory: 64GiB, cpus: 16, ports: 7000}}}")
	for name, c := range map[string]struct {
		own  Worker
		want Worker
	}{
		"nothing said": {Worker{}, Worker{Memory: 64 << 30, CPUs: 16, DataDir: "/a", Listen: "10.0.0.1", AdvertiseHost: "10.0.0.1", Ports: Ports{7000, 7000}}},
		"all of it": {Worker{Host: "db2", DataDir: "/b", Listen: "*", AdvertiseHost: "db2.example.com", Ports: Ports{8000, 8001}},
			Worker{Host: "db2", Memory: 64 << 30, CPUs: 16, DataDir: "/b", Listen: "*", AdvertiseHost: "db2.example.com", Ports: Ports{8000, 8001}}},
		"an address for clients follows": {Worker{Listen: "10.0.0.2"},
			Worker{Memory: 64 << 30, CPUs: 16, DataDir: "/a", Listen: "10.0.0.2", AdvertiseHost: "10.0.0.2", Ports: Ports{7000, 7000}}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := parse("x.yaml", text)
			if err == nil {
				err = cfg.OverrideWorker("west", c.own)
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, cfg.Regions["west"].Worker); diff != "" {
				t.Error(diff)
			}
		})
	}
	cfg, err := parse("x.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for says, own := range map[string]Worker{"not absolute": {DataDir: "b"}, `"No Name"`: {Host: "No Name"}, "cannot connect": {Listen: "*"}} {
		if err := cfg.OverrideWorker("west", own); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", own, err, says)
		}
		if cfg, err = parse("x.yaml", text); err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.OverrideWorker("mars", Worker{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unknown region: %v", err)
	}
}

func TestHostName(t *testing.T) {
	for machine, want := range map[string]string{
		"db1": "db1", "DB1.example.com": "db1-example-com", "my_host": "my-host", "-x-": "x", "...": "", "": "",
		strings.Repeat("a", 70): strings.Repeat("a", 63), "ü1": "1",
	} {
		if got := HostName(machine); got != want {
			t.Errorf("%q became %q, want %q", machine, got, want)
		}
	}
}
