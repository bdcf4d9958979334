package field

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// audit stops every gateway and has each folder audited by `grille ledger audit`. network is a configuration or a chain of them.
func (s *site) audit(network []byte) {
	s.t.Helper()
	s.stopAll()
	chain := filepath.Join(s.t.TempDir(), "network.json")
	if err := os.WriteFile(chain, network, 0o600); err != nil {
		s.t.Fatal(err)
	}
	for i, n := range s.Nodes {
		out, err := s.grille(i, "ledger", "audit", "--ledger", n.Folder.Ledger(), "--network", chain, "-o", "json")
		var report struct {
			Clean bool `json:"clean"`
		}
		if err == nil {
			err = json.Unmarshal(out, &report)
		}
		if err != nil || !report.Clean {
			s.t.Errorf("the folder of %s: %v\n%s", n.Name, err, out)
		}
	}
}
