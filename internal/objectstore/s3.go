package objectstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/smartdr/smartdr/internal/fault"
)

// listPage is how many keys S3 lists, or deletes, in one request.
const listPage = 1000

// tokenField is the object metadata field (x-amz-meta-…) that holds PutOptions.Token.
const tokenField = "smartdr-token"

// S3 is a Store in one bucket of S3 or of a server that speaks its protocol. It tries every request once: wrap it in
// WithRetry, or use Open.
type S3 struct {
	client *s3.Client
	cfg    S3Config
	close  func()
}

var _ Store = (*S3)(nil)

// Open returns the store that cfg describes, with transient failures tried again by the default policy. What is under, as a
// counter, sees each attempt.
func Open(ctx context.Context, cfg S3Config, under ...func(Store) Store) (Store, error) {
	bare, err := NewS3(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s := Store(bare)
	for _, wrap := range under {
		s = wrap(s)
	}
	return WithRetry(s, RetryPolicy{}), nil
}

// Close lets go of idle connections. The store can be used after it all the same.
func (s *S3) Close() { s.close() }

func (s *S3) key(key string) *string { return aws.String(s.cfg.Prefix + key) }

// Get returns a whole object.
func (s *S3) Get(ctx context.Context, key string) ([]byte, Info, error) {
	w := s.watch(ctx)
	defer w.stop()
	out, err := s.client.GetObject(w.ctx, &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key)})
	if err != nil {
		return nil, Info{}, s.fault(w, "get object "+key, err)
	}
	b, err := w.readAll(out.Body, aws.ToInt64(out.ContentLength))
	if err != nil {
		return nil, Info{}, s.fault(w, "get object "+key, err)
	}
	return b, Info{Key: key, ETag: aws.ToString(out.ETag), Size: int64(len(b)), Modified: aws.ToTime(out.LastModified), Token: out.Metadata[tokenField]}, nil
}

// GetRange returns exactly n bytes from offset off on.
func (s *S3) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	op := fmt.Sprintf("get bytes %d to %d of object %s", off, off+n, key)
	if off < 0 || n < 0 {
		return nil, fault.Newf(fault.Invalid, op, "offset and length must not be negative")
	}
	if n == 0 {
		return []byte{}, nil
	}
	w := s.watch(ctx)
	defer w.stop()
	out, err := s.client.GetObject(w.ctx, &s3.GetObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key), Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))})
	if err != nil {
		return nil, s.fault(w, op, err)
	}
	if got := aws.ToInt64(out.ContentLength); got != n {
		out.Body.Close()
		return nil, wrongRange(op, got, n)
	}
	b, err := w.readAll(out.Body, n)
	if err != nil {
		return nil, s.fault(w, op, err)
	}
	return b, nil
}

func wrongRange(op string, got, want int64) error {
	if got > want {
		return fault.Newf(fault.Invalid, op, "the store sent %d bytes where %d were asked for", got, want).
			WithHint("the store does not honour ranges; use one that does")
	}
	return fault.Newf(fault.Corrupt, op, "the object ends after %d of them", got)
}

// Put writes a whole object in one request.
func (s *S3) Put(ctx context.Context, key string, body []byte, opts PutOptions) (Info, error) {
	op := "put object " + key
	if opts.IfAbsent && opts.IfMatch != "" {
		return Info{}, fault.Newf(fault.Invalid, op, "IfAbsent and IfMatch exclude each other")
	}
	w := s.watch(ctx)
	defer w.stop()
	out, err := s.client.PutObject(w.ctx, s.putInput(w, key, body, opts))
	if err != nil {
		return Info{}, s.putFault(w, op, opts, err)
	}
	return Info{Key: key, ETag: aws.ToString(out.ETag), Size: int64(len(body)), Token: opts.Token}, nil
}

func (s *S3) putInput(w *watch, key string, body []byte, opts PutOptions) *s3.PutObjectInput {
	in := &s3.PutObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key), Body: &watchedReader{bytes.NewReader(body), w}, ContentLength: aws.Int64(int64(len(body)))}
	if opts.IfAbsent {
		in.IfNoneMatch = aws.String("*")
	}
	if opts.IfMatch != "" {
		in.IfMatch = aws.String(opts.IfMatch)
	}
	if opts.Token != "" {
		in.Metadata = map[string]string{tokenField: opts.Token}
	}
	return in
}

// putFault knows that an If-Match on an object that is gone answers 404, which is a condition that does not hold.
func (s *S3) putFault(w *watch, op string, opts PutOptions, err error) error {
	err = s.fault(w, op, err)
	if opts.IfMatch != "" && fault.Is(err, fault.Missing) {
		return fault.Newf(fault.Conflict, op, "the object is gone")
	}
	return err
}

// Head returns what Get would, without the body.
func (s *S3) Head(ctx context.Context, key string) (Info, error) {
	w := s.watch(ctx)
	defer w.stop()
	out, err := s.client.HeadObject(w.ctx, &s3.HeadObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key)})
	if err != nil {
		return Info{}, s.fault(w, "look at object "+key, err)
	}
	return Info{Key: key, ETag: aws.ToString(out.ETag), Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified), Token: out.Metadata[tokenField]}, nil
}

// List yields objects in the order of their keys, a request for each thousand.
func (s *S3) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &s.cfg.Bucket, Prefix: s.key(prefix)}
		if startAfter != "" {
			in.StartAfter = s.key(startAfter)
		}
		for {
			out, err := s.listPage(ctx, in)
			if err != nil {
				yield(Info{}, err)
				return
			}
			for _, o := range out.Contents {
				if !yield(s.listed(o), nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) {
				return
			}
			in.ContinuationToken = out.NextContinuationToken
		}
	}
}

func (s *S3) listPage(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	w := s.watch(ctx)
	defer w.stop()
	out, err := s.client.ListObjectsV2(w.ctx, in)
	if err != nil {
		return nil, s.fault(w, "list objects "+strings.TrimPrefix(*in.Prefix, s.cfg.Prefix), err)
	}
	return out, nil
}

func (s *S3) listed(o types.Object) Info {
	return Info{Key: strings.TrimPrefix(aws.ToString(o.Key), s.cfg.Prefix), ETag: aws.ToString(o.ETag), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}
}

// Delete removes objects, a request for each thousand.
func (s *S3) Delete(ctx context.Context, keys ...string) error {
	if len(keys) == 1 {
		return s.deleteOne(ctx, keys[0])
	}
	for len(keys) > 0 {
		n := min(len(keys), listPage)
		if err := s.deletePage(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (s *S3) deleteOne(ctx context.Context, key string) error {
	w := s.watch(ctx)
	defer w.stop()
	_, err := s.client.DeleteObject(w.ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(key)})
	if err == nil {
		return nil
	}
	if err := s.fault(w, "delete object "+key, err); !fault.Is(err, fault.Missing) {
		return err
	}
	return nil
}

func (s *S3) deletePage(ctx context.Context, keys []string) error {
	w := s.watch(ctx)
	defer w.stop()
	ids := make([]types.ObjectIdentifier, len(keys))
	for i, k := range keys {
		ids[i].Key = s.key(k)
	}
	op := fmt.Sprintf("delete %d objects from %s on", len(keys), keys[0])
	out, err := s.client.DeleteObjects(w.ctx, &s3.DeleteObjectsInput{Bucket: &s.cfg.Bucket, Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}})
	if err != nil {
		return s.fault(w, op, err)
	}
	for _, e := range out.Errors {
		f := judge(op, s.cfg.Bucket, aws.ToString(e.Code), 0, fmt.Errorf("%s: %s: %s", aws.ToString(e.Key), aws.ToString(e.Code), aws.ToString(e.Message)))
		if f.Kind != fault.Missing {
			return f
		}
	}
	return nil
}

// EnsureBucket creates the bucket unless it is there. For development and tests: a real bucket is made, with its
// lifecycle and access rules, by who owns the account.
func (s *S3) EnsureBucket(ctx context.Context) error {
	w := s.watch(ctx)
	defer w.stop()
	_, err := s.client.CreateBucket(w.ctx, &s3.CreateBucketInput{Bucket: &s.cfg.Bucket})
	var owned *types.BucketAlreadyOwnedByYou
	if err == nil || errors.As(err, &owned) {
		return nil
	}
	return s.fault(w, "create bucket "+s.cfg.Bucket, err)
}

// readAll reads a body of n bytes and closes it.
func (w *watch) readAll(body io.ReadCloser, n int64) ([]byte, error) {
	defer body.Close()
	b := make([]byte, n)
	for done := int64(0); done < n; {
		// In pieces, so that a slow download that moves is told from one that hangs.
		k, err := io.ReadFull(body, b[done:min(n, done+256<<10)])
		if err != nil {
			return nil, err
		}
		done += int64(k)
		w.moved()
	}
	return b, nil
}
