#!/usr/bin/env bash
# The clients people use for models, for Node.js, against a platform with providers of every kind.
. "$(dirname "$0")/../integration/lib.sh"
cd "$ROOT/tests/e2e/sdk"
if ! cmp -s package-lock.json node_modules/.samovar-lock; then
    npm ci --no-audit --no-fund --loglevel=error || exit 1
    cp package-lock.json node_modules/.samovar-lock
fi
tool provider_sim
SIM=http://127.0.0.1:$TOOL_PORT
cat > "$WORK/samovar.yaml" <<EOT
router:
  attempts: 3
  providers:
    - {name: openai, base_url: "$SIM/v1", key_env: SIM_SECRET_VALUE}
    - {name: responses, base_url: "$SIM/v1", responses: true, key_env: SIM_SECRET_VALUE}
    - {name: anthropic, kind: anthropic, base_url: "$SIM/v1", key_env: SIM_SECRET_VALUE}
    - {name: gemini, kind: gemini, base_url: "$SIM/v1beta", key_env: SIM_SECRET_VALUE}
    - {name: ollama, kind: ollama, base_url: "$SIM"}
EOT
platform_up SAMOVAR_CONFIG="$WORK/samovar.yaml" SIM_SECRET_VALUE=sk-simulated
until_ok 10 eval 'curl -s "$URL/v1/models" | grep -q sim-small'
SAMOVAR_URL=$URL SIM_URL=$SIM node_modules/.bin/node --test --test-concurrency=2 --test-reporter=dot ./*.test.mjs
check "the clients' tests" same $? 0
