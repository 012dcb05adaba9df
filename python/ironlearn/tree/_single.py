"""What single trees share: the fitted tree's arrays and what is read off them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from ironlearn import _core, _modelfile
from ironlearn.exceptions import ModelFileError
from ironlearn.tree import _pruning
from ironlearn.tree._base import TreeEstimator
from ironlearn.tree._structure import Tree


class SingleTree(TreeEstimator):
    """Base of single trees; a subclass has ``_grow``."""

    _multi_output = True
    # As scikit-learn's trees, unlike its forests.
    _warn_of_column = False

    ccp_alpha: float
    max_features_: int

    # "check_input" is nothing that a pipeline would pass on.
    __metadata_request__fit = {"check_input": UNUSED}
    __metadata_request__predict = {"check_input": UNUSED}

    def _grow(self, X: Any, y: Any, sample_weight: Any) -> _core.ForestModel:
        """Grow a full tree; set what depends on the data alone."""
        raise NotImplementedError

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        model = self._grow(X, y, sample_weight)
        if self.ccp_alpha > 0:
            model = _pruning.prune(model, float(self.ccp_alpha))
        self._set_model(model)

    def _set_model(self, model: _core.ForestModel) -> None:
        super()._set_model(model)
        self.__dict__.pop("tree_", None)

    def _model_state(self) -> tuple[dict[str, Any], _modelfile.Tensors]:
        attributes, tensors = super()._model_state()
        attributes["max_features_"] = int(self.max_features_)
        return attributes, tensors

    def _restore_model(self, attributes: dict[str, Any], tensors: _modelfile.Tensors) -> None:
        super()._restore_model(attributes, tensors)
        drawn = attributes["max_features_"]
        if type(drawn) is not int or not 1 <= drawn <= self.n_features_in_:
            raise ModelFileError(f"the model file's max_features_ is {drawn!r}.")
        if self._model.n_trees != 1:
            raise ModelFileError(f"the model file holds {self._model.n_trees} trees, not one.")
        self.max_features_ = drawn

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("tree_", None)
        return state

    @cached_property
    def tree_(self) -> Tree:
        """The nodes, under scikit-learn's names."""
        if "_model" not in self.__dict__:
            raise AttributeError("tree_ is set by fit")
        return Tree(self._model)

    def apply(self, X: Any, check_input: bool = True) -> NDArray[np.int64]:
        """Return each row's leaf.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        ndarray of shape (n_samples,)
            Indices of nodes in `tree_`.
        """
        return self._model.apply(self._predict_input(X), n_threads=self._n_threads())[:, 0]

    def decision_path(self, X: Any, check_input: bool = True) -> Any:
        """Return which nodes each row passes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Rows.
        check_input : bool, default=True
            Kept for scikit-learn's callers; input is always checked.

        Returns
        -------
        CSR matrix of shape (n_samples, node_count)
            A one for each node that a row passes.
        """
        return self.tree_.decision_path(self._predict_input(X))

    def get_depth(self) -> int:
        """Return the length of the longest path from the root to a leaf."""
        check_is_fitted(self)
        return self.tree_.max_depth

    def get_n_leaves(self) -> int:
        """Return the number of leaves."""
        check_is_fitted(self)
        return self.tree_.n_leaves

    @property
    def feature_importances_(self) -> NDArray[np.float64]:
        """Normalised total decrease of impurity by each feature."""
        check_is_fitted(self)
        return self.tree_.compute_feature_importances()

    def cost_complexity_pruning_path(self, X: Any, y: Any, sample_weight: Any = None) -> Bunch:
        """Return the alphas at which a full tree is pruned, and the impurities of its leaves.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        path : Bunch
            With ``ccp_alphas`` and ``impurities``.
        """
        from sklearn.base import clone

        alphas, impurities = _pruning.path(clone(self)._grow(X, y, sample_weight))
        return Bunch(ccp_alphas=alphas, impurities=impurities)
