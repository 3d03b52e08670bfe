.PHONY: env
env:
	@scripts/env.sh
