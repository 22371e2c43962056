package world

import (
	"net/netip"
	"strings"
	"testing"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestIPTablesRules(t *testing.T) {
	var r Ruleset
	err := r.addIPTables([]byte(strings.ReplaceAll(`*filter
		:FORWARD DROP [3:180]
		:MINE - [0:0]
		[7:420] -A FORWARD -j MINE
		[0:0] -A FORWARD ! -i br0 -o br0 -p tcp -m tcp --dport 80:90 -m comment --comment "a \"quoted\" one" -j ACCEPT
		[0:0] -A MINE -m limit --limit 3/min -j DROP
		[0:0] -A MINE -s 10.0.0.0/8 -j RETURN
		COMMIT
		*nat
		:PREROUTING ACCEPT [0:0]
		-A PREROUTING -d 1.2.3.4/32 -p udp -m udp --dport 9000:9010 -j DNAT --to-destination 172.18.0.2:8000-8010/9000
		COMMIT
		`, "\t", "")), IPTables, "ip")
	if err != nil {
		t.Fatal(err)
	}
	p := Packet{In: "eth0", Out: "br0", Src: addr("10.1.1.1"), Dst: addr("172.18.0.2"), Proto: "tcp", DPort: 85, State: "NEW"}
	d := r.At("forward", p)
	if d.Verdict != "ACCEPT" || d.Rule == nil || d.Rule.Comment != `a "quoted" one` || d.Sure {
		t.Errorf("the packet gets %+v", d)
	}
	p.DPort = 91
	if d := r.At("forward", p); d.Verdict != "DROP" || d.Rule != nil || d.Chain.Policy != "DROP" {
		t.Errorf("another port gets %+v", d)
	}
	d = r.At("prerouting", Packet{Dst: addr("1.2.3.4"), Src: addr("1.1.1.1"), Proto: "udp", DPort: 9003, State: "NEW"})
	if d.To.String() != "172.18.0.2:8003" {
		t.Errorf("a shifted port leads to %v", d.To)
	}
	if r.Chains[0].Rules[0].Packets != 7 {
		t.Error("the counter was not read")
	}
	if err := r.addIPTables([]byte("*filter\n-A NOWHERE -j DROP\n"), IPTables, "ip"); err == nil {
		t.Error("a rule of a chain that does not exist was taken")
	}
}

func TestSocketsOfProc(t *testing.T) {
	got := parseSockets(`  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:0051 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0
`, "tcp")
	if len(got) != 1 || got[0].Address.String() != "127.0.0.1:80" || got[0].Inode != 4711 {
		t.Errorf("sockets %+v", got)
	}
	six := parseSockets("x\n 0: 00000000000000000000000001000000:1F90 0:0 0A 0:0 0:0 0 0 0 5 1\n", "tcp")
	if len(six) != 1 || six[0].Address.String() != "[::1]:8080" {
		t.Errorf("sockets %+v", six)
	}
}

func FuzzIPTables(f *testing.F) {
	f.Add("*nat\n:A ACCEPT [0:0]\n[1:2] -A A -s 1.2.3.4 ! -i \"x y\" -j DNAT --to-destination [::1]:80-90/3\n")
	f.Fuzz(func(t *testing.T, text string) {
		var r Ruleset
		if r.addIPTables([]byte(text), IPTables, "ip") == nil {
			r.At("prerouting", Packet{Src: addr("1.2.3.4"), Dst: addr("1.2.3.4"), Proto: "tcp", State: "NEW"})
		}
	})
}

func FuzzNFT(f *testing.F) {
	f.Add(`{"nftables":[{"chain":{"family":"ip","table":"m","name":"f","type":"filter","hook":"forward","prio":0,"policy":"drop"}},{"rule":{"family":"ip","table":"m","chain":"f","handle":12,"expr":[{"match":{"op":"!=","left":{"meta":{"key":"oifname"}},"right":"br0"}},{"dnat":{"addr":"172.18.0.2","port":80}}]}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var r Ruleset
		if r.addNFT([]byte(text), nil) == nil {
			r.At("forward", Packet{Src: addr("1.2.3.4"), Dst: addr("1.2.3.4"), Proto: "tcp", State: "NEW"})
		}
	})
}
