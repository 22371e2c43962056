//go:build !registry_helper

package image

import (
	"compress/bzip2"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// zstdMemory bounds the window that a zstd stream may ask for, in bytes.
const zstdMemory = 128 << 20

// decoder unpacks what is packed by another method than gzip. This is the plain build, and the helper program's: the work
// is done in this process. helper.go has the other one.
func decoder(kind compression, r io.Reader) (io.ReadCloser, error) {
	switch kind {
	case bzipped:
		return io.NopCloser(bzip2.NewReader(r)), nil
	case xzipped:
		x, err := xz.NewReader(r)
		return io.NopCloser(x), err
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdMemory), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}
