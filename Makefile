# Thin: each command is utils/environment.py with the same name, which sets up .venv first when it has to.
#   make lab                       make test ARGS="-k quiz"           make lab PYTHON=python3.12
# Windows without make:  py utils\environment.py lab
PYTHON ?= python3
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup lab app test quick demo bench gpu lint lessons claims links site wheelhouse test-lowest clean

help:  ## list these commands
	@grep -E '^[a-z-]+: *## ' Makefile | sed -E 's/^([a-z-]+): *## /  make \1	/' | expand -t 20

setup:  ## make .venv with everything the course needs, or mend it
	@$(PYTHON) utils/environment.py setup $(ARGS)

lab:  ## open the course in JupyterLab
	@$(PYTHON) utils/environment.py lab $(ARGS)

app:  ## open the playground as a page, for a projector
	@$(PYTHON) utils/environment.py app $(ARGS)

test:  ## run every test and every lesson
	@$(PYTHON) utils/environment.py test $(ARGS)

quick:  ## run the tests that need no training and no browser: for every commit
	@$(PYTHON) utils/environment.py quick $(ARGS)

demo:  ## show catastrophic forgetting in the terminal
	@$(PYTHON) utils/environment.py demo $(ARGS)

bench:  ## measure the time and memory of the lessons
	@$(PYTHON) utils/environment.py bench $(ARGS)

gpu:  ## measure what only a GPU can show, in six minutes; ARGS=--rehearse runs it on a CPU, small
	@$(PYTHON) utils/environment.py gpu $(ARGS)

lint:  ## check style, spelling, links and how the lessons are stored
	@$(PYTHON) utils/environment.py lint $(ARGS)

lessons:  ## execute the lessons and store their outputs
	@$(PYTHON) utils/environment.py lessons $(ARGS)

claims:  ## measure every claim again where runs are missing, and write the table of verdicts
	@$(PYTHON) utils/environment.py claims $(ARGS)

links:  ## check every link; REPO=owner/name REF=v1.0 writes the badges
	@$(PYTHON) utils/environment.py links $(ARGS) $(if $(REPO),--repo "$(REPO)") $(if $(REF),--ref "$(REF)")

site:  ## build the course as web pages in _site, to be read without running it
	@$(PYTHON) utils/environment.py site $(ARGS)

wheelhouse:  ## pack the course and all packages for a room without network
	@$(PYTHON) utils/environment.py wheelhouse $(ARGS)

test-lowest:  ## run the tests with the oldest packages that are allowed
	@$(PYTHON) utils/environment.py test-lowest $(ARGS)

clean:  ## remove .venv and every cache
	rm -rf .venv .venv-lowest .venv-lowest-guard _site offline-course .venv.lock .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
