package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAMinimalFileIsReadAsWhatItWasMadeOf(t *testing.T) {
	for name, r := range map[string]Region{
		"own":    {Bucket: "b-w", Endpoint: "https://minio:9000", S3Region: "us-east-1", Prefix: "dr", PathStyle: true, Worker: Worker{DataDir: "/var/lib/smartdr"}},
		"amazon": {Bucket: "b-w"},
	} {
		made, err := One("x.yaml", "west", r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := made.Minimal()
		if err != nil {
			t.Fatal(err)
		}
		read, err := parse("x.yaml", text)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		if diff := cmp.Diff(made.Regions, read.Regions); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
