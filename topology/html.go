package topology

import (
	"fmt"
	"html"
	"strings"

	"github.com/mydocker/mydocker/lang"
)

// HTML is a page with the picture and lists, complete in itself: it loads nothing. The field at the top dims all namespaces that do not
// contain what is typed.
func HTML(v *View, texts *lang.Catalogue) string {
	body, width, height := svgBody(v, texts)
	var b strings.Builder
	fmt.Fprintf(&b, `<!DOCTYPE html>
<html lang="%s"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>%s</title>
<style>%s
body{margin:0;font:14px system-ui,"Noto Sans CJK SC",sans-serif;color:#1b2733;background:#fff}
header{position:sticky;top:0;background:#fff;border-bottom:1px solid #c8d0d7;padding:10px 20px;display:flex;gap:20px;align-items:baseline;flex-wrap:wrap}
h1{font-size:18px;margin:0}h2{font-size:15px;margin:18px 20px 6px}input{font:inherit;padding:3px 8px;width:16em}
.picture{overflow-x:auto}.space.off{opacity:.15}
table{border-collapse:collapse;margin:0 20px}td,th{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid #e3e8ec;font:12px ui-monospace,monospace}
.faults{margin:0 20px;color:#b3261e}
</style></head><body>
`, texts.Language(), html.EscapeString(texts.Text("topology.page.title")), svgStyle)
	fmt.Fprintf(&b, `<header><h1>%s</h1><span>%s</span><input id="find" type="search" placeholder="%s" aria-label="%s"></header>`+"\n",
		html.EscapeString(texts.Text("topology.page.title")),
		html.EscapeString(texts.Text("topology.page.summary", "namespaces", len(v.Spaces), "cables", len(v.Cables), "ports", len(v.Ports))),
		html.EscapeString(texts.Text("topology.page.find")), html.EscapeString(texts.Text("topology.page.find")))
	fmt.Fprintf(&b, `<div class="picture"><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">%s</svg></div>`+"\n", width, height, width, height, body)
	if len(v.Faults) > 0 {
		fmt.Fprintf(&b, "<h2>%s</h2><ul class=\"faults\">", html.EscapeString(texts.Text("topology.page.faults")))
		for _, f := range v.Faults {
			fmt.Fprintf(&b, "<li>%s</li>", html.EscapeString(f.Text))
		}
		b.WriteString("</ul>\n")
	}
	htmlTables(&b, v, texts)
	b.WriteString(`<script>
document.getElementById("find").addEventListener("input", e => {
  const want = e.target.value.trim().toLowerCase();
  for (const g of document.querySelectorAll(".space, tbody tr"))
    g.classList.toggle("off", want !== "" && !(g.dataset.name || g.textContent).toLowerCase().includes(want));
});
</script></body></html>
`)
	return b.String()
}

// htmlTables are the ports, and all links.
func htmlTables(b *strings.Builder, v *View, texts *lang.Catalogue) {
	table := func(title string, head []string, rows [][]string) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(b, "<h2>%s</h2><table><thead><tr>", html.EscapeString(title))
		for _, h := range head {
			fmt.Fprintf(b, "<th>%s</th>", html.EscapeString(h))
		}
		b.WriteString("</tr></thead><tbody>\n")
		for _, row := range rows {
			b.WriteString(`<tr class="row">`)
			for _, cell := range row {
				fmt.Fprintf(b, "<td>%s</td>", html.EscapeString(cell))
			}
			b.WriteString("</tr>\n")
		}
		b.WriteString("</tbody></table>\n")
	}
	var ports, links [][]string
	for _, p := range v.Ports {
		ports = append(ports, []string{p.From, p.To, p.Space, p.By, p.Owner})
	}
	for _, s := range v.Spaces {
		for _, l := range s.Links {
			if !l.Loopback {
				up := "up"
				if !l.Up {
					up = "down"
				}
				links = append(links, []string{s.Name, l.Name, l.Kind, up, strings.Join(l.Addresses, " "), l.MAC, fmt.Sprint(l.MTU), l.Master, l.Owner})
			}
		}
	}
	column := func(name string) string { return texts.Text("topology.column." + name) }
	table(texts.Text("topology.page.ports"), []string{column("from"), column("to"), column("namespace"), column("chain"), column("owner")}, ports)
	table(texts.Text("topology.page.links"), []string{column("namespace"), column("link"), column("kind"), column("state"), column("addresses"), "MAC", "MTU", column("master"), column("owner")}, links)
}
