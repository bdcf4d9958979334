package audit

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHealthyFoldersAreClean(t *testing.T) {
	c := baseTown(t)
	for _, name := range testNames {
		before := fingerprint(t, c.path(name))
		r := c.audit(c.path(name))
		for _, p := range r.All() {
			if p.Code != NoHead || p.Origin != originOf("GOV/health") || name != "GOV/health" && name != "GOV/tax" {
				t.Errorf("%s: %s %s", name, p.Origin, p)
			}
		}
		if !r.Clean() || r.Member != name || len(r.Logs) != 4 {
			t.Errorf("%s: clean %v, member %q, %d logs", name, r.Clean(), r.Member, len(r.Logs))
		}
		civil, tax := r.log("GOV/civil"), r.log("GOV/tax")
		if civil.Size != 600 || civil.Entries != 600 || civil.Beats != 600 || civil.Missed != 0 || civil.Late != 0 || civil.Kinds["receipts.batch"] != 600 ||
			civil.Proved != sample || len(civil.Heads) != 3 || civil.Version != 1 || civil.Bytes == 0 {
			t.Errorf("%s: civil's log: %+v", name, civil)
		}
		if tax.Size != 12 || tax.Kinds["dataset.declare"] != 3 || tax.Void != 0 || tax.Proved != 12 || tax.First != "2026-03-01T12:00:00Z" || tax.Beats != 2 {
			t.Errorf("%s: tax's log: %+v", name, tax)
		}
		if after := fingerprint(t, c.path(name)); after != before {
			t.Errorf("%s: the audit changed the folder", name)
		}
	}
}

// fingerprint is names, sizes, times and bytes of all files below dir.
func fingerprint(t *testing.T, dir string) string {
	t.Helper()
	out := ""
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out += path + info.ModTime().String() + info.Mode().String() + string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
