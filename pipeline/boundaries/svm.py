"""A linear support vector machine whose result is a hyperplane in the space of the codes, in scikit-learn's manner."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from pipeline.boundaries.solver import Gram, fit_machines

_TOLERANCE = 1e-6


class LinearBoundary(ClassifierMixin, BaseEstimator):
    """The hyperplane between two classes of latent codes.

    Args:
        c: weight of the errors against the width of the margin, on standardised codes if these are asked for.
        standardise: fit on codes of mean 0 and standard deviation 1 in every dimension. The result is given back in
            the codes' own units; a dimension that never changes gets no part in it.
        loss: "squared_hinge", solved by Newton's method: seconds for ten thousand codes; or "hinge", as InterFaceGAN
            has it (Shen et al. 2020), solved by libsvm: minutes for thousands of codes that overlap.

    Attributes:
        classes_: the two labels in ascending order; the second one lies on the positive side.
        normal_: [D] unit normal of the hyperplane, towards ``classes_[1]``.
        intercept_: signed distance of the origin, so that a code's score is code · normal + intercept.
        scale_: factor from that distance to the SVM's own decision value, whose margin lies at ±1.

    Example:
        >>> LinearBoundary(c=0.1).fit(codes, labels).decision_function(codes)   # [N] signed distances
    """

    def __init__(self, c: float = 1.0, standardise: bool = True, loss: str = "squared_hinge") -> None:
        self.c = c
        self.standardise = standardise
        self.loss = loss

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Fit the hyperplane to codes [N, D] and labels [N] of exactly two kinds.

        Raises:
            ValueError: not two classes, or a code that is not finite.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        if type_of_target(y, input_name="y", raise_unknown=True) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        self.classes_ = unique_labels(y)
        if len(self.classes_) != 2:
            raise ValueError(f"LinearBoundary needs two classes, got 1 class: {self.classes_[0]}")
        gram = Gram.of(X, self.standardise, np.float64)
        coefficients, bias = self._solve(gram, (y == self.classes_[1]).astype(int))
        normals, intercepts, scales = gram.hyperplanes(coefficients[:, None], np.array([bias]))
        self.normal_, self.intercept_, self.scale_ = normals[0], float(intercepts[0]), float(scales[0])
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """Return the signed distances [N] of codes [N, D] to the hyperplane, in the codes' own units."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return X @ self.normal_ + self.intercept_

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the label [N] of the side on which each code [N, D] lies."""
        positive = self.decision_function(X) > 0
        return self.classes_[positive.astype(int)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _solve(self, gram: Gram, y: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the coefficients [n] of the rows, and the intercept for centred rows."""
        if self.loss == "hinge":
            machine = SVC(kernel="linear", C=self.c, tol=_TOLERANCE).fit(gram.rows, y)
            coefficients = np.zeros(len(gram))
            coefficients[machine.support_] = machine.dual_coef_[0]
            return coefficients, float(machine.intercept_[0])
        if self.loss != "squared_hinge":
            raise ValueError(f"loss must be 'hinge' or 'squared_hinge', got {self.loss!r}")
        found = fit_machines(gram, y[:, None], np.ones((len(y), 1)), self.c, _TOLERANCE)
        return found.coefficients[:, 0], float(found.biases[0])
