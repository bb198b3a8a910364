# Every target does its own set-up (.ci/setup.sh): nothing has to be installed or activated
# first. V=1 shows the commands and what pip and the package manager say.

Q := $(if $(filter 1,$(V)),,@)
PYTHON_OF_VENV := .venv/bin/python

# Each fuzzer runs this long.
SECONDS ?= 60
# Test processes side by side: more than the two cores of CI, as part of the time they wait.
JOBS ?= 6

# What runs on technicians' laptops, so on Windows and macOS as well.
OF_LAPTOPS := host_tools/field host_tools/people/kits $(addprefix host_tools/cli/,__init__.py \
	device.py _device_check.py _device_talk.py _site.py doctor.py enrolments.py kit.py labels.py \
	menu.py provision.py)

.DEFAULT_GOAL := help
.PHONY: help setup setup-demo setup-lab setup-browser demo test proofs browser fresh lab lint format bench fuzz firmware \
	clean

help:
	@echo "make demo    four villages report to a province right here (MINUTES=5, ARGS='--no-faults')"
	@echo "make test    the tests, but for the slow ones (ARGS='-k journal', JOBS=6)"
	@echo "make proofs  the slow tests: a day, years, kills, power cuts, 841 villages"
	@echo "make browser the pages in a real Chromium"
	@echo "make fresh   set-up, demo and tests on a bare Debian, as root and as a user (SHORT=1)"
	@echo "make lab     faults of real networks, in namespaces, and what is told of them (QUICK=1)"
	@echo "make lint    style, types, and what is known to be insecure"
	@echo "make format  puts the style right"
	@echo "make bench   the measured figures, as a table and in build/bench.json (QUICK=1)"
	@echo "make fuzz    each fuzzer for a minute (SECONDS=60)"
	@echo "make firmware  MicroPython with ROMFS for the ESP32 boards, by docker (BOARDS=esp32-c3)"
	@echo "make clean   back to a fresh clone"

setup:
	@V='$(V)' .ci/setup.sh test

setup-demo:
	@V='$(V)' .ci/setup.sh demo

setup-lab:
	@V='$(V)' .ci/setup.sh lab

setup-browser:
	@V='$(V)' .ci/setup.sh browser

# `exec`, so that a signal to make reaches the program itself and it can clean up.
demo: setup-demo
	$(Q)exec .venv/bin/desalink demo $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

# loadfile: what the tests of a file share is made once. tests/conftest.py has the order.
test: setup
	$(Q)exec $(PYTHON_OF_VENV) -m pytest -q -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		-m 'not slow' $(ARGS)

# worksteal: a file's tests may each take minutes, and should not wait for each other.
proofs: setup
	$(Q)exec $(PYTHON_OF_VENV) -m pytest -q -n $(JOBS) --dist worksteal -m slow $(ARGS)

browser: setup-browser
	$(Q)exec $(PYTHON_OF_VENV) -m pytest -q -m slow tests/host_tools/pages/test_pages_browser.py $(ARGS)

# In trees of their own (.ci/fresh.sh): nothing of this clone's set-up is used. Half an hour; SHORT=1
# takes two minutes, SUITE=trixie another release.
fresh:
	$(Q)exec .ci/fresh.sh $(if $(SHORT),short)

# Twenty minutes and more; QUICK=1 takes four. Where namespaces are not allowed it only says so.
lab: setup-lab
	$(Q)exec $(PYTHON_OF_VENV) -m tests.lab $(if $(QUICK),--quick) $(ARGS)

lint: setup
	$(Q)$(PYTHON_OF_VENV) -m ruff check --quiet .
	$(Q)$(PYTHON_OF_VENV) -m ruff format --check --quiet .
	$(Q)said=$$($(PYTHON_OF_VENV) -m bandit --quiet --recursive --configfile pyproject.toml \
		host_tools 2>&1) || { echo "$$said"; exit 1; }
	$(Q).venv/bin/shellcheck $$(git ls-files '*.sh' .ci/run)
	$(Q)$(PYTHON_OF_VENV) -m mypy
	$(Q)$(PYTHON_OF_VENV) -m mypy --config-file .ci/agent-mypy.ini
	$(Q)for platform in win32 darwin; do $(PYTHON_OF_VENV) -m mypy --platform $$platform \
		--cache-dir .mypy_cache/$$platform --no-warn-unused-configs $(OF_LAPTOPS) || exit 1; done

format: setup
	$(Q)$(PYTHON_OF_VENV) -m ruff check --fix --quiet .
	$(Q)$(PYTHON_OF_VENV) -m ruff format --quiet .

bench: setup
	$(Q)exec $(PYTHON_OF_VENV) -m tests.bench $(if $(QUICK),--quick) $(ARGS)

fuzz: setup
	$(Q)V='$(V)' .ci/fuzz.sh $(SECONDS) $(ARGS)

# Needs docker and the internet; CI does not build it.
firmware:
	$(Q)exec boards/_esp32/firmware/build.sh build/firmware $(BOARDS)

clean:
	$(Q)rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	$(Q)find agent boards host_tools tests -name __pycache__ -prune -exec rm -rf {} +
