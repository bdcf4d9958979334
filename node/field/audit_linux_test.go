package field

import (
	"os"
	"path/filepath"
	"strings"
)

// audit stops every gateway and has each folder audited by `grille ledger audit`.
func (s *site) audit() {
	s.t.Helper()
	s.stopAll()
	network := filepath.Join(s.t.TempDir(), "network.json")
	if err := os.WriteFile(network, s.Config.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := s.grille(0, "ledger", "--help"); err != nil || !strings.Contains(string(out), "audit") {
		s.t.Logf("no audit yet: %v", err)
		return
	}
	for i, n := range s.Nodes {
		out, err := s.grille(i, "ledger", "audit", "--ledger", n.Folder.Ledger(), "--network", network, "-o", "json")
		if err != nil {
			s.t.Errorf("the folder of %s: %v\n%s", n.Name, err, out)
		}
	}
}
