package objectstore

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/smartdr/smartdr/internal/fault"
)

// S3Config says where a bucket is and how to get in.
type S3Config struct {
	Bucket    string
	Prefix    string // put in front of every key, as "dr/smartdr/v1/"; normally ends in a slash
	Region    string // the S3 region; "" means the environment's, or us-east-1 where Endpoint is set
	Endpoint  string // as "https://minio.example.com:9000"; "" means Amazon's for the region
	PathStyle bool   // the bucket in the path and not in the host name, as most servers other than Amazon's want it

	// Without AccessKey the SDK's default chain finds the credentials: environment, shared files (with Profile),
	// web identity, container and instance roles.
	AccessKey, SecretKey, SessionToken string
	Profile                            string // in the shared configuration files
	CredentialsFile                    string // in the shared files' format, instead of ~/.aws/credentials

	// Stall is for how long a request may make no progress at all; default 15 s. Connecting may take a third of it.
	Stall time.Duration
}

const defaultStall = 15 * time.Second

// NewS3 returns the store that cfg describes. It checks the configuration and does not connect.
func NewS3(ctx context.Context, cfg S3Config) (*S3, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Stall <= 0 {
		cfg.Stall = defaultStall
	}
	loaded, err := config.LoadDefaultConfig(ctx, cfg.loadOptions()...)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read the configuration of bucket "+cfg.Bucket, err).
			WithHint("check the profile and the shared AWS configuration files")
	}
	if loaded.Region == "" && cfg.Endpoint == "" {
		return nil, fault.Newf(fault.Invalid, "open bucket "+cfg.Bucket, "no S3 region is known").WithHint("Set s3Region in the configuration, --s3-region where a command has it, or AWS_REGION.")
	}
	if loaded.Region == "" {
		loaded.Region = "us-east-1"
	}
	if loaded.Credentials != nil {
		loaded.Credentials = namedCredentials{loaded.Credentials}
	}
	return newS3(cfg, loaded), nil
}

func newS3(cfg S3Config, loaded aws.Config) *S3 {
	hc := httpClient(cfg.Stall)
	client := s3.NewFromConfig(loaded, func(o *s3.Options) {
		o.HTTPClient = hc
		o.UsePathStyle = cfg.PathStyle
		if cfg.Endpoint != "" {
			o.BaseEndpoint = aws.String(cfg.Endpoint)
		}
		o.Retryer = aws.NopRetryer{} // WithRetry does it, knowing what a lost answer means
		// The signature covers the payload, and every format above carries checksums of its own; servers other
		// than Amazon's do not all know the newer trailing ones.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.ContinueHeaderThresholdBytes = -1 // saves a round trip for each segment
	})
	return &S3{client: client, cfg: cfg, close: hc.CloseIdleConnections}
}

func (c S3Config) check() error {
	op := "open bucket " + c.Bucket
	if c.Bucket == "" {
		return fault.Newf(fault.Invalid, "open bucket", "no bucket is named").WithHint("set the region's bucket")
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return fault.Newf(fault.Invalid, op, "an access key and a secret key belong together, and one is missing")
	}
	if strings.HasPrefix(c.Prefix, "/") {
		return fault.Newf(fault.Invalid, op, "the prefix %q begins with a slash", c.Prefix)
	}
	if c.Endpoint == "" {
		return nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fault.Newf(fault.Invalid, op, "the endpoint is not a URL").WithHint("write it as https://host:port")
	}
	if u.User != nil {
		return fault.Newf(fault.Invalid, op, "the endpoint carries a user name or a password").WithHint("give credentials by profile, file or environment")
	}
	return nil
}

func (c S3Config) loadOptions() []func(*config.LoadOptions) error {
	opts := []func(*config.LoadOptions) error{config.WithAppID("smartdr")}
	if c.Region != "" {
		opts = append(opts, config.WithRegion(c.Region))
	}
	if c.AccessKey != "" {
		opts = append(opts, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)))
	}
	if c.Profile != "" {
		opts = append(opts, config.WithSharedConfigProfile(c.Profile))
	}
	if c.CredentialsFile != "" {
		opts = append(opts, config.WithSharedCredentialsFiles([]string{c.CredentialsFile}))
	}
	return opts
}

// httpClient returns one for a store's own use: a bucket that hangs must not hold connections that another one needs.
func httpClient(stall time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: stall / 3, KeepAlive: 15 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     false, // parallel requests want connections of their own
			MaxIdleConnsPerHost:   64,    // more than any phase has in flight, so that none is dialled twice
			IdleConnTimeout:       30 * time.Second,
			TLSHandshakeTimeout:   stall / 3,
			ExpectContinueTimeout: time.Second,
			DisableCompression:    true,
			WriteBufferSize:       128 << 10,
			ReadBufferSize:        128 << 10,
		},
		// A redirect means another S3 region, where the signature would not hold.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// namedCredentials makes a failure to find credentials recognisable among the SDK's other errors.
type namedCredentials struct{ aws.CredentialsProvider }

func (n namedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := n.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return c, &credentialsError{err}
	}
	return c, nil
}

type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return "no credentials: " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }
