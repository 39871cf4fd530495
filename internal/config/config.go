// Package config reads smartdr.yaml: where Temporal is, which regions there are, and what a worker of a region needs.
// It holds no secret, only where secrets are; they are read when a store is opened and go nowhere else.
package config

// EnvPath names the variable that says where the file is, when no flag does.
const EnvPath = "SMARTDR_CONFIG"

// DefaultPath is where the file is when neither a flag nor EnvPath says so.
const DefaultPath = "smartdr.yaml"

// Config is the whole file.
type Config struct {
	Temporal Temporal          `yaml:"temporal" json:"temporal"`
	Regions  map[string]Region `yaml:"regions" json:"regions"`
	Hooks    []Hook            `yaml:"hooks,omitempty" json:"hooks,omitempty"`

	path string
}

// Temporal says where the cluster is. Empty fields leave it to Temporal's own environment (TEMPORAL_ADDRESS, ...).
type Temporal struct {
	Address   string `yaml:"address,omitempty" json:"address,omitempty"` // host:port
	Namespace string `yaml:"namespace,omitempty" json:"namespace,omitempty"`
}

// Region is a place that fails as one: a bucket, plus the workers that run there.
type Region struct {
	Provider    string      `yaml:"provider,omitempty" json:"provider,omitempty"` // AWS, GCP, Azure, or your own name
	Bucket      string      `yaml:"bucket" json:"bucket"`
	Endpoint    string      `yaml:"endpoint,omitempty" json:"endpoint,omitempty"` // URL; empty means Amazon's
	S3Region    string      `yaml:"s3Region,omitempty" json:"s3Region,omitempty"`
	Prefix      string      `yaml:"prefix,omitempty" json:"prefix,omitempty"` // before every key
	PathStyle   bool        `yaml:"pathStyle,omitempty" json:"pathStyle,omitempty"`
	Credentials Credentials `yaml:"credentials,omitempty" json:"credentials,omitzero"`
	Worker      Worker      `yaml:"worker,omitempty" json:"worker,omitzero"`
	Prices      Prices      `yaml:"prices,omitempty" json:"prices,omitzero"`
}

// Credentials says where the keys to a bucket are. With no field set, the AWS SDK's own places hold: environment,
// shared files, container and instance roles.
type Credentials struct {
	Profile         string `yaml:"profile,omitempty" json:"profile,omitempty"` // in the shared files, or in File
	AccessKeyEnv    string `yaml:"accessKeyEnv,omitempty" json:"accessKeyEnv,omitempty"`
	SecretKeyEnv    string `yaml:"secretKeyEnv,omitempty" json:"secretKeyEnv,omitempty"`
	SessionTokenEnv string `yaml:"sessionTokenEnv,omitempty" json:"sessionTokenEnv,omitempty"`
	File            string `yaml:"file,omitempty" json:"file,omitempty"` // in the format of ~/.aws/credentials
}

// Worker is what a worker of the region needs to bring servers up on its host.
type Worker struct {
	Host          string   `yaml:"host,omitempty" json:"host,omitempty"`                   // this machine's name among the region's hosts; default its host name
	Memory        Memory   `yaml:"memory,omitempty" json:"memory,omitempty"`               // capacity for servers, as 64GiB; default all that the machine, or the control group, has
	CPUs          float64  `yaml:"cpus,omitempty" json:"cpus,omitempty"`                   // likewise
	DataDir       string   `yaml:"dataDir,omitempty" json:"dataDir,omitempty"`             // absolute; instances live below it
	Listen        string   `yaml:"listen,omitempty" json:"listen,omitempty"`               // listen_addresses of servers; default 127.0.0.1
	AdvertiseHost string   `yaml:"advertiseHost,omitempty" json:"advertiseHost,omitempty"` // what clients connect to; default Listen, if that is one address
	Ports         Ports    `yaml:"ports,omitempty" json:"ports,omitzero"`                  // servers get ports of this range; default 6000-6099
	PGBinDirs     []string `yaml:"pgBinDirs,omitempty" json:"pgBinDirs,omitempty"`         // searched first for PostgreSQL's programs
}

// Memory is an amount in bytes; "64GiB" or "512MiB" in the file.
type Memory int64

// Ports is an inclusive range; "6000-6099" in the file.
type Ports struct {
	From int `json:"from"`
	To   int `json:"to"`
}
