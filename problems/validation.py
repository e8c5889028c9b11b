"""Where validation losses begin and the lowest one reached, a problem: what targets on validation are made of.

Nobody knows the lowest validation loss there is. So this is the lowest that any trial of the reference results has
reached at any point of its curve, over all optimizers, settings and seeds (`scripts/measure_validation.py`). It stays
as it is until somebody measures anew, whoever takes part in a run.
"""

from __future__ import annotations

# problem: (median validation loss of fresh networks over seeds 0 to 8, lowest validation loss reached)
LOWEST = {
    "step_1d": (0.5728, 0.188398),
    "line_mse": (0.998509, 0.553357),
    "line_l1": (0.82051, 0.587092),
    "logistic_cancer": (0.72173, 0.026038),
    "mlp_digits": (2.30857, 0.0467067),
    "cnn_digits": (2.30837, 0.0586866),
    "mlp_diabetes": (0.794879, 0.404945),
    "mlp_concrete": (0.997982, 0.141869),
    "teacher": (1.16837, 7.06295e-05),
    "universal": (0.637072, 0.00110594),
    "mlp_iris": (1.10571, 0.120742),
    "mlp_wine": (1.09844, 0),
    "mlp_cancer": (0.709186, 0),
    "mlp_alzheimer": (0.742163, 0.206404),
    "mlp_parkinson": (0.683816, 0.286203),
    "cnn_fashion": (2.3048, 0.632477),
    "mri_synthetic_severity": (0.50769, 0.126885),
    "mri_synthetic_severity_mse": (0.34384, 0.0800465),
    "mri_synthetic_class": (0.694214, 0.675266),
    "autoencoder_fashion": (0.191158, 0.00963337),
    "vae_fashion": (137.524, 74.1877),
    "denoise_fashion": (0.0915204, 0.0193661),
    "transformer_shakespeare": (4.33624, 2.69091),
    "rnn_shakespeare": (4.29605, 2.13195),
    "cartpole": (-21.5, -100),
    "pendulum": (647.822, 413.359),
    "pendulum_dynamics": (647.822, 378.763),
}
