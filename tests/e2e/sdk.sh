#!/usr/bin/env bash
# The official OpenAI client for Node.js against a platform.
. "$(dirname "$0")/../integration/lib.sh"
cd "$ROOT/tests/e2e/sdk"
[ -x node_modules/.bin/node ] || npm ci --no-audit --no-fund --loglevel=error || exit 1
tool provider_sim
cat > "$WORK/samovar.yaml" <<EOF
router:
  providers:
    - {name: sim, base_url: "http://127.0.0.1:$TOOL_PORT/v1"}
EOF
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml"
SAMOVAR_URL=$URL SIM_MODEL_CUT=sim,fault=cut,at=3 node_modules/.bin/node --test sdk.test.mjs
check "the client's tests" same $? 0
