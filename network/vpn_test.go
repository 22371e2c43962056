package network

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Ranges of VPNs that are configured, up or not, and those of the host's name servers are no choice of ours; who asks for one gets it.
func TestVPNRanges(t *testing.T) {
	etc := t.TempDir()
	for file, text := range map[string]string{
		"wireguard/wg0.conf":        "[Interface]\nAddress = 172.18.5.1/24, fd77::1/64\nPrivateKey=x=\n[Peer]\nAllowedIPs=172.19.0.0/16,0.0.0.0/0 # all\n",
		"openvpn/server.conf":       "port 1194\nserver 172.20.8.0 255.255.255.0\npush \"route 172.21.0.0 255.255.0.0\"\n;route 172.23.0.0 255.255.0.0 not\nroute 172.22.1.1\n",
		"openvpn/client/home.ovpn":  "remote vpn.example.com\nroute 192.168.0.0 255.255.240.0\nroute x y\n",
		"resolv.conf":               "nameserver 172.23.0.53\nnameserver fe80::1%eth0\nnameserver fd00::53\nnameserver 127.0.0.1\nnameserver x\n",
		"openvpn/client/broken.txt": "route 172.24.0.0 255.255.0.0",
	} {
		path := filepath.Join(etc, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range vpnRanges(etc) {
		got = append(got, r.prefix.String())
	}
	slices.Sort(got)
	want := []string{"172.18.5.0/24", "172.19.0.0/16", "172.20.8.0/24", "172.21.0.0/16", "172.22.1.1/32", "192.168.0.0/20", "fd77::/64"}
	if !slices.Equal(got, want) {
		t.Errorf("ranges %v; want %v", got, want)
	}
	m := newManager(t, func(o *Options) { o.Etc = etc })
	n := create(t, m, CreateOptions{Name: "chosen"})
	if n.Subnet != netip.MustParsePrefix("172.24.0.0/16") { // the name server's is none, either
		t.Errorf("chosen: %s", n.Subnet)
	}
	if _, err := m.Create(context.Background(), CreateOptions{Name: "wanted", Subnet: "172.19.0.0/24"}); err != nil {
		t.Errorf("a range that was asked for: %v", err)
	}
	if _, err := m.Create(context.Background(), CreateOptions{Name: "names", Subnet: "172.23.0.0/24"}); err != nil {
		t.Errorf("the name server's subnet, asked for: %v", err)
	}
}
