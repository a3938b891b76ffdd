"""One file a peer: PEER says what it is, functions do the jobs that cases need."""
