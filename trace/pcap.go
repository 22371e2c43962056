package trace

import (
	"encoding/binary"
	"io"
)

// WritePcap writes the frames as a file for tcpdump and wireshark: https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/ . A packet
// is in it once for each link that it was seen on.
func WritePcap(w io.Writer, frames []Frame) error {
	const nanoseconds, ethernet = 0xa1b23c4d, 1
	header := binary.LittleEndian.AppendUint32(nil, nanoseconds)
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint16(header, 4)
	for _, field := range []uint32{0, 0, 65535, ethernet} {
		header = binary.LittleEndian.AppendUint32(header, field)
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, f := range frames {
		var b []byte
		for _, field := range []uint32{uint32(f.Time.Unix()), uint32(f.Time.Nanosecond()), uint32(len(f.Data)), uint32(len(f.Data))} {
			b = binary.LittleEndian.AppendUint32(b, field)
		}
		if _, err := w.Write(append(b, f.Data...)); err != nil {
			return err
		}
	}
	return nil
}
