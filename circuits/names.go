package circuits

import "github.com/consensys/gnark/frontend"

// tagIn is the circuit's twin of Tag.
func tagIn(api frontend.API, key, nonce frontend.Variable) frontend.Variable {
	return hash(api, UseTag, key, nonce, 0)
}

// scopeNames returns the nullifier and the commitment to the scope's key, both 0 if the scope is 0.
func scopeNames(api frontend.API, scopeKey, key, scope frontend.Variable) (nullifier, commitment frontend.Variable) {
	asked := api.Sub(1, api.IsZero(scope))
	nullifier = api.Mul(asked, hash(api, UseNullifier, scopeKey, key, scope))
	return nullifier, api.Mul(asked, hash(api, UseScopeKey, scopeKey, 0, 0))
}
