package audit

import "github.com/grille-gateway/grille/ledger/entry"

// programs are what the rules remember of programs and decisions.
type programs struct {
	published map[policyKey]bool
	retired   map[policyKey]bool
	decided   map[string]bool
}

func newPrograms() programs {
	return programs{published: make(map[policyKey]bool), retired: make(map[policyKey]bool), decided: make(map[string]bool)}
}

func (r *rules) retireProgram(i uint64, e entry.ProgramRetire) bool {
	k := policyKey{e.Program, e.Version}
	if !r.programs.published[k] {
		return r.void(RetireUnknown, i, "retires program %s version %d, which is not published before it", e.Program, e.Version)
	}
	return first(r, r.programs.retired, k, RetireAgain, i)
}
