package entry

// ProgramPublish publishes one version of a program: a rule over the verdicts of several policies. It stands on the log of the member
// that decides by it. The first entry for a program and version counts; a second is void.
type ProgramPublish struct {
	Program string `json:"program"`
	Version int    `json:"version"` // from 1
	Title   string `json:"title"`
	Source  Source `json:"source"` // the whole document; nothing of it is compiled
	Time    string `json:"time"`
}

// ProgramRetire ends a program version: no application under it is taken after this entry. Cases that were begun are decided.
type ProgramRetire struct {
	Program string `json:"program"`
	Version int    `json:"version"`
	Reason  string `json:"reason"`
	Time    string `json:"time"`
}

// CaseDecision commits to one decision, made by a program or by a person. It names neither program nor case: only whoever has the
// decision and its salt sees that they belong together. The first entry with a digest counts.
type CaseDecision struct {
	Digest string `json:"digest"` // 64 hexadecimal digits: salted, of the signed decision
	Time   string `json:"time"`
}

func (ProgramPublish) Kind() string { return KindProgramPublish }
func (ProgramRetire) Kind() string  { return KindProgramRetire }
func (CaseDecision) Kind() string   { return KindCaseDecision }

func (c *checker) program(e ProgramPublish) {
	c.name("program", e.Program)
	c.version("version", e.Version)
	c.text("title", e.Title, 1, MaxTitle)
	c.text("source.language", e.Source.Language, 1, MaxName)
	c.text("source.text", e.Source.Text, 1, MaxSource)
	c.time("time", e.Time)
}

func (c *checker) retireProgram(e ProgramRetire) {
	c.name("program", e.Program)
	c.version("version", e.Version)
	c.ending(e.Reason, e.Time)
}

func (c *checker) decision(e CaseDecision) {
	c.hex("digest", e.Digest)
	c.time("time", e.Time)
}
