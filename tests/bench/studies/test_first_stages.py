"""First stages that are compared: what each is before it has learned anything."""

from __future__ import annotations

import pytest
import torch

from bench.studies.first_stages import CANDIDATES, Exit, pruned
from inspector.model.bundle import DEFAULT_PATH, ModelBundle
from inspector.model.network import load_deployed


@pytest.fixture(scope="module")
def bundle():
    return ModelBundle.load(DEFAULT_PATH)


def model_of(bundle):
    return load_deployed(bundle).network


def images(side: int = 256) -> torch.Tensor:
    drawn = torch.randint(0, 256, (1, side, side, 3), generator=torch.manual_seed(1))
    return drawn.to(torch.uint8)


@pytest.mark.parametrize("name", CANDIDATES)
def test_each_answers_for_cells_and_windows(bundle, name):
    network = CANDIDATES[name](model_of(bundle), bundle).eval()
    with torch.no_grad():
        log_odds, domain = network(images())
    assert (log_odds.shape, domain.shape) == ((1, 8, 8), (1, 2, 2))


def test_of_which_nothing_is_pruned_computes_what_the_model_does(bundle):
    network = pruned(1.0)(model_of(bundle), bundle).eval()
    full = load_deployed(bundle)
    normal = full.normalise(images())
    with torch.no_grad():
        found = network.stem(normal)
        for stage in network.stages:
            found = stage(found)
        torch.testing.assert_close(found, full.features(normal))


def test_an_exit_learns_only_what_is_its_own(bundle):
    network = Exit(model_of(bundle), bundle, 2).train()
    given = [module for part in network.given for module in part.modules()]
    assert not any(module.training for module in given)
    assert network.training and any(p.requires_grad for p in network.parameters())
    shared = {id(p) for part in network.given for p in part.parameters()}
    assert all(p.requires_grad is (id(p) not in shared) for p in network.parameters())
